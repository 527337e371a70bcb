/** The page: its buttons and keys, and what happens by them. One thing at a time: a microphone, or files one after another. */

import { hearFile } from "./files.js";
import { Figures, showLevel } from "./figures.js";
import { Live } from "./live.js";
import { Microphone, microphoneTrouble, noMicrophone } from "./microphone.js";
import { offerMicrophones, offerModels, options } from "./options.js";
import { about, getToken, setToken } from "./server.js";
import { Take } from "./take.js";
import { TakeView } from "./take_view.js";
import { hide as hideTip } from "./tip.js";

const $ = (id) => document.querySelector(id);
const button = $("#talk");

/** @type {"idle" | "listening" | "finishing" | "files"} what goes on */
let state = "idle";
let cancel = () => {}; // what goes on
let stop = () => {};
let limit = Infinity; // bytes of a file

// What is said about it

const LABELS = { idle: "Start", listening: "Stop", finishing: "Stop", files: "Stop" };

function become(next, text) {
  state = next;
  document.body.dataset.state = next;
  $("#talk-label").textContent = LABELS[next];
  $("#file").disabled = next !== "idle";
  button.disabled = next === "finishing" || (next === "idle" && noMicrophone() !== null);
  say(text);
}

const say = (text) => ($("#status").textContent = text);

/** To a screen reader alone. */
function announce(text) {
  const line = document.createElement("p");
  line.textContent = text;
  $("#log").append(line);
  while ($("#log").childElementCount > 20) $("#log").firstElementChild.remove();
}

/** What went wrong, and what helps. */
function complain(text) {
  if ($("#notice").textContent === text) return;
  $("#notice").textContent = text;
  $("#notice").hidden = !text;
}

function refuse(refusal) {
  if (refusal.code === "unauthorized") {
    complain(getToken() ? "The server does not take this token." : "");
    $("#gate").hidden = false;
    $("#token").focus();
  } else complain(refusal.message);
}

function newTake(name) {
  const take = new Take(name);
  const view = new TakeView(take, announce);
  $("#takes").prepend(view.element);
  return [take, view];
}

// The microphone

async function start() {
  complain("");
  const { device, clean, model, hotwords } = options();
  let [live, figures, cancelled] = [null, null, false];
  const early = []; // packets before the take stands
  let hear = (samples) => early.push(samples);
  become("listening", "Opening the microphone …");
  stop = cancel = () => (cancelled = true);

  let microphone;
  try {
    microphone = await Microphone.open({ device, clean }, (samples) => hear(samples), () => stop());
  } catch (error) {
    become("idle", "Ready");
    return cancelled || complain(microphoneTrouble(error));
  }
  if (cancelled) {
    microphone.close();
    return become("idle", "Ready");
  }
  offerMicrophones();

  const [take, view] = newTake(`Microphone, ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`);
  const over = (text) => {
    microphone.close();
    showLevel(0);
    view.update(true);
    become("idle", text);
  };
  const listening = () => say(state === "finishing" ? "The last words …" : "Listening");
  figures = new Figures(microphone.rate);
  live = new Live(
    { model, sample_rate: microphone.rate, search: hotwords.length ? { hotwords } : undefined },
    {
      event(event, offset) {
        take.apply(event, offset);
        view.update();
        figures.show(take);
      },
      ready: () => {
        complain("");
        listening();
      },
      behind: (seconds) => say(seconds > 2 ? `The connection is slow: ${Math.round(seconds)} s behind` : "Listening"),
      wait(seconds, why) {
        say(`Again in ${Math.ceil(seconds)} s`);
        complain(`${why.message} What you say is kept and sent when the server is back; Escape gives up.`);
      },
      end() {
        figures.end();
        over("Ready");
      },
      fail(why) {
        take.keepPartial();
        over("Ready");
        refuse(why);
      },
    },
  );
  let off = false;
  hear = (samples) => {
    if (figures.hear(samples) !== off) complain((off = !off) ? "The microphone gives no sound at all: is it switched off?" : "");
    live.push(samples);
  };
  early.forEach(hear);
  stop = async () => {
    become("finishing", "The last words …");
    figures.stop();
    await microphone.stop();
    live.finish();
  };
  cancel = () => {
    live.cancel();
    take.dropPartial();
    over("Cancelled");
    if (!take.segments.length) view.element.remove();
  };
}

// Files

async function hearFiles(files) {
  if (state !== "idle" || !files.length) return;
  complain("");
  const aborter = new AbortController();
  stop = cancel = () => aborter.abort();
  const troubles = [];
  for (const [i, file] of [...files].entries()) {
    become("files", files.length > 1 ? `File ${i + 1} of ${files.length}: ${file.name}` : file.name);
    const [take, view] = newTake(file.name);
    const onEvent = (event) => {
      take.apply(event);
      view.update();
    };
    try {
      await hearFile(file, { ...options(), limit }, onEvent, aborter.signal);
      view.update(true);
    } catch (error) {
      take.dropPartial();
      view.update(true);
      if (!take.segments.length) view.element.remove();
      if (aborter.signal.aborted) break;
      if (error.code === "unauthorized") {
        refuse(error);
        break;
      }
      troubles.push(`${file.name}: ${error.message}`);
    }
  }
  become("idle", aborter.signal.aborted ? "Cancelled" : "Ready");
  if (troubles.length) complain(troubles.join(" "));
}

// Buttons, keys, files that fall

function toggle() {
  if (state === "idle") start();
  else if (state !== "finishing") stop();
}

button.addEventListener("click", toggle);
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input, textarea, select, button, summary, a");
  if (event.key === " " && !busy && !event.repeat && !button.disabled) {
    event.preventDefault();
    toggle();
  }
  if (event.key !== "Escape") return;
  hideTip();
  if (state !== "idle") cancel();
});

$("#file").addEventListener("change", async ({ target }) => {
  await hearFiles([...target.files]);
  target.value = ""; // the same file may come again
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
for (const end of ["dragleave", "drop", "dragend"])
  document.addEventListener(end, (event) => {
    if (end !== "dragleave" || event.relatedTarget === null) document.body.classList.remove("dragging");
  });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (state === "idle") hearFiles([...event.dataTransfer.files]);
  else complain("Stop first, then drop files.");
});
$("#gate").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("#token").value);
  meet();
});
window.addEventListener("beforeunload", (event) => {
  if (state === "listening") event.preventDefault();
});

/** Learn what the server has. */
async function meet() {
  try {
    const { models, max_upload_bytes } = await about();
    limit = max_upload_bytes;
    offerModels(models);
    $("#gate").hidden = true;
    complain(noMicrophone() ?? "");
    say("Ready");
  } catch (refusal) {
    say("Not connected");
    refuse(refusal);
  }
}

become("idle", "Connecting …");
offerMicrophones();
meet();
