// The guided half-minute: asks for one expression after the other, and saves the images that the person keeps.

const READY = 1900; // ms to read what is asked for, and to make the face
const BETWEEN = 450; // ms between two images
const SHOTS = 5; // images of each expression
const WAIT = 4000; // ms that an image waits for a face
const ASKED = {
  anger: "angry", disgust: "disgusted", fear: "afraid", happiness: "happy", sadness: "sad", surprise: "surprised", neutral: "as usual", contempt: "scornful",
};

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Teacher {
  #shots = []; // {emotion, file, url, kept}
  #running = false;

  // `parts` are elements: prompt, face, word, step, stop, dialog, shots, text, save; `seen` says whether a face is in the picture now.
  constructor({ collect, source, parts, seen, headers, say }) {
    Object.assign(this, { collect, source, parts, seen, headers, say });
    parts.stop.addEventListener("click", () => (this.#running = false));
    parts.dialog.addEventListener("close", () => this.#clear());
    parts.dialog.addEventListener("cancel", (event) => {
      // Escape is pressed by habit, and the images cannot be taken again.
      if (!confirm("Throw all these images away?")) event.preventDefault();
    });
    parts.save.addEventListener("click", () => this.#save());
  }

  async start() {
    if (this.#running) return;
    if (!this.source.playing) return this.say("Start the camera first");
    this.#running = true;
    const { prompt } = this.parts;
    prompt.hidden = false;
    try {
      await this.#round();
    } catch {
      this.#running = false; // the picture is gone
    }
    prompt.hidden = true;
    const whole = this.#running;
    this.#running = false;
    if (whole && this.#shots.length) this.#review();
    else {
      this.#clear();
      this.say(whole ? "No face was seen, so there are no images" : "Stopped; nothing was kept");
    }
  }

  // Asks for each expression, and takes its images.
  async #round() {
    const { prompt, face, word, step } = this.parts;
    for (const [at, emotion] of this.collect.emotions.entries()) {
      face.src = `live/emoji/${encodeURIComponent(emotion)}.png`;
      word.textContent = `Look ${ASKED[emotion] ?? emotion}`;
      step.textContent = `${at + 1} of ${this.collect.emotions.length}`;
      prompt.classList.remove("taking");
      if (!(await this.#pause(READY))) break;
      prompt.classList.add("taking");
      for (let number = 0; number < SHOTS && this.#running; number++) {
        await this.#shoot(emotion);
        await this.#pause(BETWEEN);
      }
    }
  }

  // Waits in small steps, so that stopping takes effect at once; whether it goes on.
  async #pause(ms) {
    const end = performance.now() + ms;
    while (this.#running && performance.now() < end) await sleep(Math.min(50, end - performance.now()));
    if (this.#running && !this.source.playing) this.#running = false;
    return this.#running;
  }

  async #shoot(emotion) {
    const end = performance.now() + WAIT;
    while (!this.seen()) {
      if (performance.now() > end || !(await this.#pause(60))) return;
    }
    const frame = this.source.take(performance.now());
    const file = new Blob([await frame.file()], { type: "image/jpeg" });
    this.source.recycle(frame.canvas);
    this.#shots.push({ emotion, file, url: URL.createObjectURL(file), kept: true });
  }

  #review() {
    const { dialog, shots, save } = this.parts;
    const groups = this.collect.emotions.map((emotion) => {
      const group = document.createElement("section");
      const title = document.createElement("h3");
      title.textContent = emotion;
      group.append(title);
      for (const [at, shot] of this.#shots.filter((each) => each.emotion === emotion).entries()) group.append(this.#button(shot, at));
      return group;
    });
    shots.replaceChildren(...groups);
    save.disabled = false;
    this.#count();
    dialog.showModal();
  }

  #button(shot, at) {
    const button = Object.assign(document.createElement("button"), { type: "button", title: "Leave out, or keep" });
    const image = Object.assign(new Image(), { src: shot.url, alt: `${shot.emotion}, image ${at + 1}` });
    button.setAttribute("aria-pressed", "true");
    button.append(image);
    button.addEventListener("click", () => {
      shot.kept = !shot.kept;
      button.setAttribute("aria-pressed", String(shot.kept));
      this.#count();
    });
    return button;
  }

  #count() {
    const kept = this.#shots.filter((shot) => shot.kept).length;
    this.parts.save.textContent = `Save ${kept} ${kept === 1 ? "image" : "images"}`;
    this.parts.save.disabled = !kept;
    this.parts.text.textContent = `Nothing is kept yet. Press the images that do not show what was asked for: they are left out. The others go to ${this.collect.folder} on the computer that runs mien.`;
  }

  async #save() {
    const { dialog, save, text } = this.parts;
    save.disabled = true;
    let done = 0;
    for (const shot of this.#shots.filter((each) => each.kept)) {
      if (!dialog.open) return this.say(`Stopped; ${done} images were saved before`);
      const error = await this.#send(shot);
      if (error) {
        text.textContent = `${done} saved, then it stopped: ${error}`;
        save.disabled = false;
        return;
      }
      shot.kept = false; // a second try sends the rest
      save.textContent = `Saved ${++done}`;
    }
    dialog.close();
    this.say(`${done} images are in ${this.collect.folder}. Now run: mien personalise ${this.collect.folder} --out me.onnx`, 15000);
  }

  // What went wrong with an image; empty if nothing did.
  async #send(shot) {
    try {
      const answer = await fetch(`collect/${encodeURIComponent(shot.emotion)}`, { method: "POST", body: shot.file, headers: this.headers() });
      return answer.ok ? "" : (await answer.json()).error.message;
    } catch {
      return "mien does not answer";
    }
  }

  #clear() {
    for (const shot of this.#shots) URL.revokeObjectURL(shot.url);
    this.#shots = [];
    this.parts.shots.replaceChildren();
  }
}
