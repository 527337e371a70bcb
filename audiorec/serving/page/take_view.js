/** A take on the page: its words, each with time and confidence, and the buttons that copy and save them. */

import { FORMATS, toText } from "./formats.js";
import { hideIfGone } from "./tip.js";

const FINAL = ".words p:not(.live) > .word"; // keys go to these: the others come and go
let takes = 0;

export class TakeView {
  #take;
  #announce;
  #words;
  #live = null; // the paragraph of the segment under way
  #shown = 0; // segments
  #meta;
  #tools;
  #close;

  /**
   * @param {import("./take.js").Take} take
   * @param {(text: string) => void} announce  to a screen reader
   */
  constructor(take, announce) {
    this.#take = take;
    this.#announce = announce;
    const id = `take-${++takes}`;
    this.#meta = element("p", { className: "meta" });
    this.#words = element("div", { className: "words" });
    this.#words.addEventListener("keydown", (event) => this.#move(event));
    this.#tools = element("div", { className: "tools", role: "group", ariaLabel: `Keep the words of ${take.name}` });
    const save = element("span", { className: "save" });
    save.append(...Object.keys(FORMATS).map((name) => this.#button(name, () => this.#save(name), `Save as ${name}`)));
    this.#tools.append(this.#button("Copy", () => this.#copy()), element("span", { textContent: "Save" }), save);
    const title = element("h2", { id, textContent: take.name });
    this.#close = this.#button("✕", () => this.#remove(), `Remove ${take.name}`);
    this.#close.className = "close";
    const head = element("header", {});
    head.append(title, this.#meta, this.#close);
    this.element = element("article", { className: "take card" });
    this.element.setAttribute("aria-labelledby", id);
    this.element.append(head, this.#words, this.#tools);
    this.update();
  }

  /** Show what the take has now; final segments are announced. */
  update(done = false) {
    const { segments, partial, seconds, count } = this.#take;
    const follow = this.#words.getBoundingClientRect().bottom <= window.innerHeight;
    this.#live?.remove();
    this.#live = null;
    for (const segment of segments.slice(this.#shown)) {
      this.#add(segment, "settles");
      this.#announce(segment.text);
    }
    this.#shown = segments.length;
    if (partial) {
      this.#live = this.#paragraph(partial, "live");
      this.#words.append(this.#live);
    }
    this.element.classList.toggle("busy", !done);
    this.#meta.textContent = `${clock(seconds)} · ${count} ${count === 1 ? "word" : "words"}`;
    this.#tools.hidden = !done || !segments.length;
    this.#close.hidden = !done;
    if (done && !segments.length) {
      this.#words.replaceChildren(element("p", { className: "nothing", textContent: "No words were heard." }));
      this.#announce("No words were heard.");
    }
    hideIfGone();
    const stop = this.#words.querySelector('[tabindex="0"]') ?? this.element.querySelector(FINAL);
    if (stop) stop.tabIndex = 0;
    if (follow && !done) this.#words.lastElementChild?.scrollIntoView({ block: "nearest" });
  }

  #add(segment, className) {
    const last = this.#words.lastElementChild;
    if (!segment.continues || !last) {
      this.#words.append(this.#paragraph(segment, className));
      return;
    }
    last.append(...spans(segment)); // no space: the word goes on
  }

  #paragraph(segment, className) {
    const paragraph = element("p", { className });
    paragraph.dataset.time = segment.words.length ? clock(segment.words[0].start) : "";
    paragraph.append(...spans(segment));
    return paragraph;
  }

  /** Arrow keys go from word to word; Tab passes a take in one step. */
  #move(event) {
    const words = [...this.element.querySelectorAll(FINAL)];
    const at = words.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: words.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = words[Math.max(0, Math.min(to, words.length - 1))];
    words[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  #button(textContent, onclick, ariaLabel = null) {
    return element("button", { type: "button", textContent, onclick, ...(ariaLabel && { ariaLabel }) });
  }

  async #copy() {
    await copy(toText(this.#take).trimEnd());
    this.#announce("Copied.");
    const button = this.#tools.firstElementChild;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }

  #save(format) {
    const [suffix, type, write] = FORMATS[format];
    const url = URL.createObjectURL(new Blob([write(this.#take)], { type: `${type};charset=utf-8` }));
    const name = this.#take.name.replace(/\.\w{1,5}$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "-");
    element("a", { href: url, download: `${name}.${suffix}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  #remove() {
    const next = this.element.nextElementSibling ?? this.element.previousElementSibling;
    this.element.remove();
    (next?.querySelector(".close:not([hidden])") ?? document.querySelector("#talk")).focus();
    this.#announce(`${this.#take.name} was removed.`);
  }
}

/** A segment's words as spans, with spaces between; text behind `settled` characters may still change. */
function spans({ words, settled = Infinity }) {
  let length = 0;
  return words.flatMap((word, i) => {
    const span = element("span", { className: `word ${sureness(word.confidence)}`, textContent: word.text, tabIndex: -1 });
    span.dataset.tip = `${word.start.toFixed(2)} to ${word.end.toFixed(2)} s, ${Math.round(100 * word.confidence)} % sure`;
    length += [...word.text].length + (i ? 1 : 0);
    if (length > settled) span.classList.add("open");
    return i ? [" ", span] : [span];
  });
}

function sureness(confidence) {
  return confidence < 0.5 ? "doubtful" : confidence < 0.8 ? "unsure" : "sure";
}

/** Minutes and seconds. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Also where the page is not secure and the browser has no clipboard for it. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { value: text, className: "away" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function element(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
