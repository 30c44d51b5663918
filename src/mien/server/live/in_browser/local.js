// What takes the place of the connection to mien: the networks run in this browser, and nothing leaves it.

const MOST = 2; // frames under way: one is analyzed while the next one is encoded

export class LocalConnection extends EventTarget {
  key = "";
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #waiting = new Map(); // what is under way: number -> {...}
  #next = 0;
  #settings = {};
  #state = "connecting";
  reason = ""; // why the networks cannot run

  constructor(config) {
    super();
    this.#worker.onmessage = ({ data }) => this.#heard(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.reason = event.message ?? "";
      this.#become("broken");
    };
    this.#worker.postMessage({ config });
  }

  open() {}

  get ready() {
    return this.#state === "open" && this.#waiting.size < MOST;
  }

  get state() {
    return this.#state;
  }

  begin(about) {
    const number = this.#next++;
    this.#waiting.set(number, { ...about, number });
    return number;
  }

  send(number, file, seconds, still = false) {
    if (this.#waiting.has(number)) this.#worker.postMessage({ number, file, frame: { ...this.#settings, seconds, still } }, [file]);
  }

  drop(number) {
    this.#waiting.delete(number);
  }

  settings(changed) {
    this.#settings = { ...this.#settings, ...changed };
  }

  #heard({ type, number, result, ms, message }) {
    if (type === "lost") {
      this.reason = message;
      return this.#become("broken");
    }
    if (type === "welcome") {
      this.#become("open");
      this.dispatchEvent(new CustomEvent("welcome"));
      return;
    }
    const about = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (about) this.dispatchEvent(new CustomEvent(type, { detail: { result, ms, about, error: { message } } }));
  }

  #become(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
