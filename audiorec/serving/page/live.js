/** A live stream that survives a connection: what was not yet final is kept, and sent again over the next one. */

import { Refusal, Talk, whyRefused } from "./server.js";

const WAITS = [1, 2, 4, 8, 16, 30, 30, 30]; // seconds before another try, a little more or less
const KEEP_SECONDS = 60; // of audio without final words
const STUCK_SECONDS = 30; // of audio that wait in the browser: then the connection is dead, though nobody said so
const LAST_WORDS_SECONDS = 20; // from the end to its words, at most
const TRY_AGAIN = new Set(["busy", "shutting_down", "failed", "gone"]);

/** Float samples as the bytes that `/v1/stream` takes. */
export function toInt16(samples) {
  return Int16Array.from(samples, (x) => Math.max(-32768, Math.min(32767, Math.round(x * 32768))));
}

export class Live {
  #config;
  #on;
  #kept = []; // {start, data}: packets that are not final yet, by their first sample
  #samples = 0; // that were pushed
  #offset = 0; // of the connection's first sample
  #talk = null;
  #ready = false;
  #finishing = false;
  #over = false;
  #tries = 0;
  #everReady = false;
  #error = null;
  #timer = null;

  /**
   * @param {object} config  of the session, with its sample_rate
   * @param {object} on
   * @param {(event: object, offset: number) => void} on.event  times count from `offset` seconds
   * @param {(seconds: number, why: Refusal) => void} on.wait  the connection is lost, the next try comes in `seconds`
   * @param {() => void} on.ready  (again) connected
   * @param {(seconds: number) => void} on.behind  so much audio waits in the browser
   * @param {() => void} on.end  all words are there
   * @param {(why: Refusal) => void} on.fail  it is over without
   */
  constructor(config, on) {
    this.#config = config;
    this.#on = on;
    this.#connect();
  }

  /** @param {Float32Array} samples */
  push(samples) {
    const rate = this.#config.sample_rate;
    const packet = { start: this.#samples, data: toInt16(samples) };
    this.#samples += samples.length;
    this.#kept.push(packet);
    while (this.#samples - this.#kept[0].start > KEEP_SECONDS * rate) this.#kept.shift();
    if (!this.#ready) return;
    this.#talk.send(packet.data);
    const waiting = this.#talk.waiting / 2 / rate;
    if (waiting > STUCK_SECONDS) {
      this.#talk.drop();
      this.#lost(new Refusal("gone", "The connection is stuck."));
    } else this.#on.behind(waiting);
  }

  /** No more comes; `on.end` or `on.fail` follows. */
  finish() {
    this.#finishing = true;
    if (this.#ready) this.#finishNow();
  }

  /** Leave at once. */
  cancel() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#talk?.drop();
  }

  #connect() {
    this.#ready = false;
    this.#error = null;
    this.#talk = new Talk(
      this.#config,
      (event) => this.#hear(event),
      (opened, code, reason) => this.#closed(opened, code, reason),
    );
  }

  #hear(event) {
    if (event.type === "ready") this.#begin();
    else if (event.type === "error") this.#error = new Refusal(event.code, event.message);
    else {
      if (event.type === "final") this.#forget(event);
      this.#on.event(event, this.#offset);
      if (event.type === "end") this.#stop(() => this.#on.end());
    }
  }

  #begin() {
    this.#ready = this.#everReady = true;
    this.#tries = 0;
    this.#offset = (this.#kept[0]?.start ?? this.#samples) / this.#config.sample_rate;
    for (const packet of this.#kept) this.#talk.send(packet.data);
    this.#on.ready();
    if (this.#finishing) this.#finishNow();
  }

  #finishNow() {
    this.#talk.finish();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#talk.drop();
      this.#stop(() => this.#on.fail(new Refusal("gone", "The last words did not come in time.")));
    }, 1000 * LAST_WORDS_SECONDS);
  }

  /** Words that are final need not be said again. */
  #forget({ words }) {
    const end = (this.#offset + (words.at(-1)?.end ?? 0)) * this.#config.sample_rate;
    while (this.#kept.length && this.#kept[0].start + this.#kept[0].data.length <= end) this.#kept.shift();
  }

  async #closed(opened, code, reason) {
    if (this.#over) return;
    this.#ready = false;
    let why = this.#error;
    why ??= opened ? new Refusal("gone", reason || "The connection to the server was lost.") : await whyRefused();
    if (!this.#over) this.#lost(why);
  }

  #lost(why) {
    this.#ready = false;
    clearTimeout(this.#timer);
    if (!this.#everReady || !TRY_AGAIN.has(why.code) || this.#tries >= WAITS.length)
      return this.#stop(() => this.#on.fail(why));
    const seconds = WAITS[this.#tries++] * (0.8 + 0.4 * Math.random()); // not all clients at once
    this.#on.wait(seconds, why);
    this.#timer = setTimeout(() => this.#connect(), 1000 * seconds);
  }

  #stop(tell) {
    this.#over = true;
    clearTimeout(this.#timer);
    tell();
  }
}
