/** The level of the microphone, the time, and how late words come. */

import { clock } from "./take_view.js";

const FLOOR = -60; // dB below full scale, where the meter begins
const COUNTED = 50; // words of which the middle latency is shown
const SILENT_SECONDS = 5; // of nothing at all: then it is switched off somewhere

const $ = (id) => document.querySelector(id);

export class Figures {
  #rate;
  #samples = 0;
  #zero = Infinity; // when the first sample was taken, in ms of this page's clock
  #quiet = 0; // samples since the last that was not 0
  #shown = []; // when each word was first on the screen
  #stopped = 0;
  #told = 0;

  /** @param {number} rate  samples a second */
  constructor(rate) {
    this.#rate = rate;
    $("#latency").textContent = $("#last").textContent = "–";
    this.#clock();
  }

  /** Take a packet of the microphone. Returns whether the microphone seems to be switched off. */
  hear(samples) {
    this.#samples += samples.length;
    // Packets come late, never early: the earliest one tells when the recording began.
    this.#zero = Math.min(this.#zero, performance.now() - (1000 * this.#samples) / this.#rate);
    let peak = 0;
    for (const x of samples) peak = Math.max(peak, Math.abs(x));
    this.#quiet = peak ? 0 : this.#quiet + samples.length;
    showLevel(peak);
    this.#clock();
    return this.#quiet > SILENT_SECONDS * this.#rate;
  }

  /** Words that are new on the screen. A word's end is known when the next one has begun: until then it is not counted. */
  show({ segments, partial }) {
    const now = performance.now() - this.#zero;
    const ended = [...segments.flatMap(({ words }) => words), ...(partial?.words.slice(0, -1) ?? [])];
    const all = ended.length + (partial ? 1 : 0);
    while (this.#shown.length < all) this.#shown.push(now);
    const recent = ended.slice(-COUNTED).map(({ end }, i) => this.#shown[Math.max(0, ended.length - COUNTED) + i] - 1000 * end);
    recent.sort((a, b) => a - b);
    if (!recent.length) return;
    const ms = Math.round(recent[recent.length >> 1]); // below 0 where the model knows a word before it has ended
    $("#latency").textContent = `${ms < 0 ? "−" : ""}${Math.abs(ms)} ms`;
  }

  /** Stop was pressed. */
  stop() {
    this.#stopped = performance.now();
    showLevel(0);
  }

  /** All words are there. */
  end() {
    $("#last").textContent = `${Math.round(performance.now() - this.#stopped)} ms`;
  }

  #clock() {
    const seconds = this.#samples / this.#rate;
    if (Math.floor(seconds) === this.#told && this.#told) return;
    this.#told = Math.floor(seconds);
    $("#clock").textContent = clock(seconds);
  }
}

/** @param {number} peak  from 0 to 1 */
export function showLevel(peak) {
  const db = Math.max(FLOOR, 20 * Math.log10(peak || 1e-9));
  const meter = $("#level");
  meter.firstElementChild.style.transform = `scaleX(${1 - db / FLOOR})`;
  meter.classList.toggle("loud", peak >= 0.99);
  meter.setAttribute("aria-valuenow", String(Math.round(db)));
  meter.setAttribute("aria-valuetext", peak ? `${Math.round(db)} decibels${peak >= 0.99 ? ", too loud" : ""}` : "silent");
}
