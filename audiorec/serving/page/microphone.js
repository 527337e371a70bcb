/** The microphone: packets of mono samples at the rate of the device's AudioContext. */

const PACKET_SECONDS = 0.03;
/** How long it listens on after Stop: people press while they say the last word, and the device delivers late. */
const TAIL_MS = 400;

/** Why there can be no microphone on this page at all; null where there can. */
export function noMicrophone() {
  if (window.isSecureContext && navigator.mediaDevices && window.AudioWorkletNode) return null;
  if (!window.isSecureContext)
    return (
      "Browsers give the microphone only to pages from https or from localhost. On the server's own machine open " +
      `http://localhost:${location.port || 80}; elsewhere start the server with --certificate and --key. Files work here, too.`
    );
  return "This browser has no microphone for pages. Files work, too.";
}

/** What a DOMException of getUserMedia means for a person. */
export function microphoneTrouble(error) {
  return (
    {
      NotAllowedError:
        "The browser refused the microphone. Allow it for this page (the icon beside the address), then press Start again.",
      NotFoundError: "No microphone was found. Plug one in, or drop a file here.",
      NotReadableError: "The microphone cannot be opened; another program may hold it.",
      OverconstrainedError: "The chosen microphone is gone. Choose another under Options.",
    }[error.name] ?? `The microphone does not work: ${error.message}`
  );
}

/** An open microphone. `Microphone.open` must be called in a click or a key press, or telephones stay silent. */
export class Microphone {
  #context = new AudioContext({ latencyHint: "interactive" });
  #stream = null;
  #node = null;
  #lock = null;

  /**
   * @param {{device: string, clean: boolean}} choice  a device's id or "", and whether the browser works on the sound
   * @param {(samples: Float32Array) => void} onPacket
   * @param {() => void} onLost  the device was taken away
   */
  static async open(choice, onPacket, onLost) {
    const microphone = new Microphone();
    try {
      await microphone.#open(choice, onPacket, onLost);
    } catch (error) {
      microphone.close();
      throw error;
    }
    return microphone;
  }

  async #open({ device, clean }, onPacket, onLost) {
    const context = this.#context;
    const resumed = context.resume();
    const loaded = context.audioWorklet.addModule(new URL("worklet.js", import.meta.url));
    loaded.catch(() => {}); // it is awaited below
    this.#stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: device ? { exact: device } : undefined,
        echoCancellation: clean,
        noiseSuppression: clean,
        autoGainControl: clean,
        channelCount: { ideal: 1 },
      },
    });
    await Promise.all([loaded, resumed]);
    const size = Math.max(1, Math.round((this.rate * PACKET_SECONDS) / 128)) * 128;
    this.#node = new AudioWorkletNode(context, "packets", { processorOptions: { size } });
    this.#node.port.onmessage = ({ data }) => data && onPacket(data);
    context.createMediaStreamSource(this.#stream).connect(this.#node);
    this.#node.connect(context.destination); // it says nothing there, but what leads nowhere is not computed everywhere
    this.#stream.getAudioTracks()[0].onended = onLost;
    this.#lock = await navigator.wakeLock?.request("screen").catch(() => null);
  }

  /** Samples a second. */
  get rate() {
    return this.#context.sampleRate;
  }

  /** Listen a moment longer, then hand out what the audio thread still holds. */
  async stop() {
    await new Promise((done) => setTimeout(done, TAIL_MS));
    const { port } = this.#node;
    const packet = port.onmessage;
    await new Promise((done) => {
      setTimeout(done, 1000); // a device that was taken away answers no more
      port.onmessage = (message) => (message.data === null ? done() : packet(message));
      port.postMessage("stop");
    });
    this.close();
  }

  /** At once; what it holds is lost. */
  close() {
    if (this.#node) this.#node.port.onmessage = null;
    this.#stream?.getTracks().forEach((track) => {
      track.onended = null;
      track.stop();
    });
    this.#lock?.release().catch(() => {});
    if (this.#context.state !== "closed") this.#context.close();
  }
}
