/** What a person chooses: model, latency, microphone, hotwords. Kept in this browser; the token is not among them. */

const KEY = "audiorec-options";
const $ = (id) => document.querySelector(id);
const fields = { base: $("#model"), device: $("#device"), clean: $("#clean"), hotwords: $("#hotwords") };
let models = [];
let kept = {};
try {
  kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
} catch {
  // none, or storage is switched off
}
fields.clean.checked = kept.clean === true;
fields.hotwords.value = typeof kept.hotwords === "string" ? kept.hotwords : "";

/** Offer the server's models, as `/v1/about` lists them. */
export function offerModels(list) {
  models = list;
  fill(fields.base, [...new Set(models.map(({ base }) => base))].map((base) => [base, base]), kept.base);
  offerLatencies();
}

/** Several latencies of a model are models of the server: NAME, NAME@480. */
function offerLatencies() {
  const ours = models.filter(({ base }) => base === fields.base.value).sort((a, b) => a.latency_ms - b.latency_ms);
  const wanted = ours.some(({ name }) => name === kept.model) ? kept.model : fields.base.value;
  fill($("#delay"), ours.map(({ name, latency_ms }) => [name, `${Math.round(latency_ms)} ms`]), wanted);
  $("#delay").disabled = ours.length < 2;
  offerHotwords();
}

function offerHotwords() {
  const able = chosen()?.hotwords === true;
  fields.hotwords.disabled = !able;
  $("#hotwords-help").textContent = able
    ? "Names and rare words to listen for, one phrase a line."
    : "This model takes none: its server was not started with --search beam.";
  $("#summary").textContent = [fields.base.value, $("#delay").selectedOptions[0]?.text].filter(Boolean).join(", ");
}

/** Offer the microphones; their names are known only once one was allowed. */
export async function offerMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const found = devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId && deviceId !== "default");
  fill(fields.device, [["", "The browser's choice"], ...found.map(({ deviceId, label }) => [deviceId, label || "Microphone"])], kept.device);
}

function chosen() {
  return models.find(({ name }) => name === $("#delay").value);
}

/** What is chosen now. */
export function options() {
  const hotwords = fields.hotwords.disabled ? "" : fields.hotwords.value;
  return {
    model: $("#delay").value || undefined,
    device: fields.device.value,
    clean: fields.clean.checked,
    hotwords: hotwords.split("\n").map((line) => line.trim()).filter(Boolean),
  };
}

function fill(select, entries, wanted) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, value === wanted)));
}

fields.base.addEventListener("change", offerLatencies);
$("#delay").addEventListener("change", offerHotwords);
$("#options").addEventListener("change", () => {
  kept = { base: fields.base.value, model: $("#delay").value, device: fields.device.value };
  kept = { ...kept, clean: fields.clean.checked, hotwords: fields.hotwords.value };
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // then it is forgotten
  }
});
