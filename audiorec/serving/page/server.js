/** The server that this page came from: its addresses, the token, and why it refuses. */

const TOKEN = "audiorec-token";
const at = (path) => new URL(path, document.baseURI); // also behind a proxy that serves us below a folder

/** The server does not do what was asked. `code` as in docs/serving.md; "gone" where it does not answer. */
export class Refusal extends Error {
  constructor(code, message, wait = 5) {
    super(message);
    this.code = code;
    this.wait = wait; // seconds, where it helps to ask again
  }
}

let token = null;

/** The token, kept for this tab alone. */
export function getToken() {
  try {
    token ??= sessionStorage.getItem(TOKEN);
  } catch {
    // storage is switched off: then until the page is left
  }
  return token ?? "";
}

export function setToken(value) {
  token = value;
  try {
    sessionStorage.setItem(TOKEN, value);
  } catch {
    // as above
  }
}

/** `fetch` of an address of the server. Throws a Refusal for any answer but a good one. */
export async function ask(path, options = {}) {
  const headers = getToken() ? { Authorization: `Bearer ${utf8(getToken())}` } : {};
  let answer;
  try {
    answer = await fetch(at(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("gone", "The server does not answer. Is it running?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const { code, message } = said.error ?? {};
  throw new Refusal(code ?? "failed", message ?? `The server answers ${answer.status}.`, +answer.headers.get("Retry-After") || 5);
}

/** What the server has: models, and how much a client may send. */
export async function about() {
  return (await ask("v1/about")).json();
}

/** Why a WebSocket was refused, as a Refusal; browsers do not tell. */
export async function whyRefused() {
  try {
    await ask("v1/stream", { method: "POST" });
  } catch (refusal) {
    if (refusal.code !== "upgrade_required") return refusal;
  }
  return new Refusal("gone", "The connection was cut before it stood. Does a proxy on the way let WebSockets through?");
}

/** One connection to `/v1/stream` (docs/serving.md). */
export class Talk {
  #socket;

  /**
   * @param {object} config  of the session
   * @param {(event: object) => void} onEvent
   * @param {(opened: boolean, code: number, reason: string) => void} onClose  once, at its end
   */
  constructor(config, onEvent, onClose) {
    const url = at("v1/stream");
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, ["audiorec", ...coded(getToken())]);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      socket.send(JSON.stringify({ type: "config", ...config }));
    };
    socket.onmessage = ({ data }) => onEvent(JSON.parse(data));
    socket.onclose = ({ code, reason }) => onClose(opened, code, reason);
    this.#socket = socket;
  }

  /** Bytes that wait in the browser. */
  get waiting() {
    return this.#socket.bufferedAmount;
  }

  send(data) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  finish() {
    this.send(JSON.stringify({ type: "finish" }));
  }

  /** Leave; nothing is told any more. */
  drop() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

/** The token as a subprotocol, the only place that a page has for it: base64url, for not every character may stand there. */
function coded(text) {
  if (!text) return [];
  return ["audiorec-token64." + btoa(utf8(text)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")];
}

/** Its bytes, each as a character: headers and base64 know no others. */
function utf8(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
