// The WebSocket to mien. A frame is sent only while few are under way, so that nothing queues up: the newest wins.

const HEADER = 16; // bytes: number (uint32), flags (uint32), seconds (float64), little-endian; then the image file
const STILL = 1; // flag: an image, not a frame of a video
const STUCK = 15000; // ms without an answer, or without a welcome, after which a connection counts as lost
const STUCK_STILL = 120000; // the same for an image, which may be large
const WAITS = [400, 1000, 2000, 4000, 5000]; // ms before each try to connect again
const SOON = 90; // ms from sending to the answer
const BUSY = 3000; // ms before the next try if the server was busy

export class Connection extends EventTarget {
  #socket = null;
  #waiting = new Map(); // what is under way: number -> {sent, ...}
  #next = 0;
  #tries = 0;
  #round = 60; // ms from sending to the answer, smoothed
  #work = 30; // ms that mien works on a frame, smoothed
  #settings = {};
  #state = "connecting";
  #welcome = false; // frames may be sent
  #opened = 0; // when the present socket was opened

  constructor(url, key = "") {
    super();
    this.url = url;
    this.key = key;
    setInterval(() => this.#watch(), 1000);
  }

  open() {
    clearTimeout(this.retry);
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#say({ type: "hello", key: this.key });
      this.#say({ type: "settings", ...this.#settings });
    };
    socket.onmessage = (event) => this.#heard(JSON.parse(event.data));
    socket.onclose = () => this.#lost();
    this.#socket = socket;
    this.#opened = performance.now();
  }

  // Two frames may be under way if mien answers soon, or if most of the time is spent on the way and not in mien's work.
  get ready() {
    const two = this.#round < SOON || this.#round > 1.8 * this.#work;
    return this.#welcome && this.#waiting.size < (two ? 2 : 1);
  }

  get state() {
    return this.#state;
  }

  // Takes a place under way for a frame that is about to be encoded.
  begin(about) {
    const number = this.#next++ >>> 0;
    this.#waiting.set(number, { ...about, number, sent: performance.now() });
    return number;
  }

  // Sends the file of a frame that has its place.
  send(number, file, seconds, still = false) {
    const about = this.#waiting.get(number);
    if (!about || !this.#welcome) return this.#waiting.delete(number);
    const message = new Uint8Array(HEADER + file.byteLength);
    const head = new DataView(message.buffer);
    head.setUint32(0, number, true);
    head.setUint32(4, still ? STILL : 0, true);
    head.setFloat64(8, seconds, true);
    message.set(new Uint8Array(file), HEADER);
    about.sent = performance.now();
    this.#socket.send(message);
  }

  // Gives a place back: the frame could not be encoded.
  drop(number) {
    this.#waiting.delete(number);
  }

  settings(changed) {
    this.#settings = { ...this.#settings, ...changed };
    if (this.#welcome) this.#say({ type: "settings", ...changed });
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #heard(message) {
    if (message.type === "welcome") {
      this.#tries = 0;
      this.#welcome = true;
      if (this.#state !== "busy") this.#become("open"); // a busy server shows with its first answer that it is free
      this.dispatchEvent(new CustomEvent("welcome"));
    } else if (message.type === "key") {
      this.#become("key");
    } else if (message.type === "busy") {
      this.#become("busy");
    } else {
      this.#become("open");
      const about = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (!about || message.type === "skipped") return;
      if (message.ms !== undefined) {
        this.#round += (performance.now() - about.sent - this.#round) / 8;
        this.#work += (message.ms - this.#work) / 8;
      }
      this.dispatchEvent(new CustomEvent(message.type, { detail: { ...message, about } }));
    }
  }

  #watch() {
    const oldest = this.#waiting.values().next().value;
    const since = oldest ? oldest.sent : this.#welcome ? Infinity : this.#opened;
    if (performance.now() - since > (oldest?.still ? STUCK_STILL : STUCK)) this.#socket?.close();
  }

  #lost() {
    this.#waiting.clear();
    this.#welcome = false;
    if (this.#state === "key") return; // connects again when there is a key
    const busy = this.#state === "busy";
    if (!busy) this.#become("lost");
    this.retry = setTimeout(() => this.open(), busy ? BUSY : WAITS[Math.min(this.#tries++, WAITS.length - 1)]);
  }

  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
