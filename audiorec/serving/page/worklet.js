/** In the audio thread: the microphone's samples as mono packets, and at the end the rest, so that no sample is lost. */
class Packets extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.packet = new Float32Array(processorOptions.size);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.send();
      this.port.postMessage(null); // nothing comes after this
      this.running = false;
    };
  }

  send() {
    if (this.filled) this.port.postMessage(this.packet.slice(0, this.filled));
    this.filled = 0;
  }

  process([channels]) {
    const length = this.running && channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.packet[this.filled++] = sum / channels.length;
      if (this.filled === this.packet.length) this.send();
    }
    return this.running;
  }
}

registerProcessor("packets", Packets);
