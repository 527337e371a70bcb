/** Files: the server reads them itself, so their words are those of `audiorec transcribe`; what it cannot read the browser does. */

import { toInt16 } from "./live.js";
import { ask, Refusal, Talk } from "./server.js";

const TRIES = 5; // where all streams are taken
const QUEUE_BYTES = 2 ** 18; // that may wait in the browser
const DECODED_RATE = 48000;

/**
 * The words of one file.
 * @param {File} file
 * @param {{model: string, hotwords: string[], limit: number}} choice  `limit`: bytes that the server takes
 * @param {(event: object) => void} onEvent  as of `/v1/stream`
 * @param {AbortSignal} signal
 */
export async function hearFile(file, choice, onEvent, signal) {
  if (file.size > choice.limit)
    throw new Refusal("too_big", `The file has more than ${Math.floor(choice.limit / 2 ** 20)} MiB, which is all the server takes.`);
  for (let tries = 1; ; tries++) {
    try {
      return await upload(file, choice, onEvent, signal);
    } catch (error) {
      if (error.code === "bad_audio") return stream(await decode(file, error), choice, onEvent, signal);
      if (error.code !== "busy" || tries === TRIES) throw error;
      await pause(1000 * error.wait, signal);
    }
  }
}

async function upload(file, { model, hotwords }, onEvent, signal) {
  const body = new FormData();
  body.append("model", model);
  body.append("response_format", "events");
  for (const phrase of hotwords) body.append("keywords[]", phrase);
  body.append("file", file);
  const answer = await ask("v1/audio/transcriptions", { method: "POST", body, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refusal("gone", "The connection to the server was lost.");
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const event of lines.map((line) => JSON.parse(line))) {
      if (event.type === "error") throw new Refusal(event.code, event.message);
      onEvent(event);
      if (event.type === "end") return;
    }
  }
}

/** Mono samples. Throws the server's refusal where the browser cannot read it either. */
async function decode(file, refusal) {
  try {
    const audio = await new OfflineAudioContext(1, 1, DECODED_RATE).decodeAudioData(await file.arrayBuffer());
    const mono = new Float32Array(audio.length);
    for (let c = 0; c < audio.numberOfChannels; c++)
      audio.getChannelData(c).forEach((x, i) => (mono[i] += x / audio.numberOfChannels));
    return mono;
  } catch {
    throw refusal;
  }
}

/** As fast as the server takes them. */
function stream(samples, { model, hotwords }, onEvent, signal) {
  const search = hotwords.length ? { hotwords } : undefined;
  return new Promise((done, fail) => {
    let error = null;
    const config = { model, sample_rate: DECODED_RATE, search };
    const talk = new Talk(
      config,
      (event) => {
        if (event.type === "ready") send().catch(fail);
        else if (event.type === "error") error = new Refusal(event.code, event.message);
        else onEvent(event);
        if (event.type === "end") done();
      },
      (_, code, reason) => fail(error ?? new Refusal("gone", reason || "The connection to the server was lost.")),
    );
    async function send() {
      for (let at = 0; at < samples.length; at += DECODED_RATE / 4) {
        while (talk.waiting > QUEUE_BYTES) await pause(20, signal);
        talk.send(toInt16(samples.subarray(at, at + DECODED_RATE / 4)));
      }
      talk.finish();
    }
    signal.addEventListener("abort", () => {
      talk.drop();
      fail(signal.reason);
    });
  });
}

function pause(ms, signal) {
  signal.throwIfAborted();
  return new Promise((done, fail) => {
    setTimeout(done, ms);
    signal.addEventListener("abort", () => fail(signal.reason), { once: true });
  });
}
