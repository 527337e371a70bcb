/**
 * Transcripts as files, letter for letter as `audiorec/transcript/formats.py` writes them.
 *
 * @typedef {{text: string, start: number, end: number, confidence: number}} Word  times in seconds
 * @typedef {{text: string, words: Word[], continues: boolean}} Segment  `continues`: its first word is the rest of the last one
 * @typedef {{name: string, segments: Segment[], seconds: number}} Transcript
 */

// A subtitle: two lines of 42 characters that stay for seven seconds at most, as television has them.
const [LINE, LINES, SECONDS] = [42, 2, 7];

/** What can be downloaded: name of the format → suffix, type and writer. */
export const FORMATS = {
  Text: ["txt", "text/plain", toText],
  SRT: ["srt", "application/x-subrip", toSrt],
  VTT: ["vtt", "text/vtt", toVtt],
  JSON: ["json", "application/json", toJson],
};

/** The text of segments in order; one that continues a word follows without a space. */
export function join(segments) {
  return segments
    .filter(({ text }) => text)
    .map(({ text, continues }, i) => (i && !continues ? " " : "") + text)
    .join("");
}

/** @param {Transcript} said */
export function toText({ segments }) {
  return join(segments) + "\n";
}

/** @param {Transcript} said  its name, text, segments and seconds in one line */
export function toJson({ name, segments, seconds }) {
  return JSON.stringify({ name, text: join(segments), segments, seconds }) + "\n";
}

/** @param {Transcript} said */
export function toSrt({ segments }) {
  return cues(segments)
    .map((cue, i) => `${i + 1}\n${clock(cue.start, ",")} --> ${clock(cue.end, ",")}\n${cue.lines.join("\n")}\n`)
    .join("\n");
}

/** @param {Transcript} said */
export function toVtt({ segments }) {
  const parts = cues(segments).map(
    (cue) => `${clock(cue.start, ".")} --> ${clock(cue.end, ".")}\n${cue.lines.map(escape).join("\n")}\n`,
  );
  return ["WEBVTT\n", ...parts].join("\n");
}

/** Subtitles: none reaches beyond a segment. */
function cues(segments) {
  return segments.flatMap(({ words }) => runs(words)).map((words) => ({
    start: words[0].start,
    end: words.at(-1).end,
    lines: linesOf(words),
  }));
}

/** Words that fit into one subtitle each. */
function runs(words) {
  const found = [];
  let run = [];
  for (const word of words) {
    if (run.length && (linesOf([...run, word]).length > LINES || word.end - run[0].start > SECONDS)) {
      found.push(run);
      run = [];
    }
    run.push(word);
  }
  return run.length ? [...found, run] : found;
}

function linesOf(words) {
  const lines = [];
  for (const { text } of words) {
    const longer = `${lines.at(-1)} ${text}`;
    if (lines.length && [...longer].length <= LINE) lines[lines.length - 1] = longer;
    else lines.push(text);
  }
  return lines;
}

function clock(seconds, point) {
  const all = Math.max(0, rounded(seconds * 1000));
  const [hours, minutes, rest] = [Math.floor(all / 3600000), Math.floor(all / 60000) % 60, all % 60000];
  const two = (number) => String(number).padStart(2, "0");
  return `${two(hours)}:${two(minutes)}:${two(Math.floor(rest / 1000))}${point}${String(rest % 1000).padStart(3, "0")}`;
}

/** As Python rounds: halves to the even number. */
function rounded(x) {
  const near = Math.round(x);
  return Math.abs(x % 1) === 0.5 && near % 2 ? near - 1 : near;
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
