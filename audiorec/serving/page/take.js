/** `Take`: what was said in one recording, as it grows. */

export class Take {
  name;
  /** @type {import("./formats.js").Segment[]} that are final */
  segments = [];
  /** @type {import("./formats.js").Segment & {settled: number} | null} under way; `settled` characters of it stay */
  partial = null;
  seconds = 0;

  constructor(name) {
    this.name = name;
  }

  /** Take an event of `/v1/stream` whose times count from `offset` seconds. */
  apply(event, offset = 0) {
    if (event.type === "end") this.seconds = offset + event.seconds;
    if (event.type !== "final" && event.type !== "partial") return;
    const { text, continues } = event;
    const words = event.words.map((word) => ({ ...word, start: word.start + offset, end: word.end + offset }));
    const final = event.type === "final";
    if (final && text) this.segments.push({ text, words, continues });
    this.partial = final || !text ? null : { text, words, continues, settled: event.settled };
    this.seconds = Math.max(this.seconds, words.at(-1)?.end ?? 0);
  }

  /** The connection is lost: what was shown stays. */
  keepPartial() {
    if (!this.partial) return;
    const { text, words, continues } = this.partial;
    this.segments.push({ text, words, continues });
    this.partial = null;
  }

  dropPartial() {
    this.partial = null;
  }

  /** Words, final and shown. */
  get count() {
    const all = this.partial ? [...this.segments, this.partial] : this.segments;
    return all.reduce((sum, { words, continues }) => sum + words.length - (continues ? 1 : 0), 0);
  }
}
