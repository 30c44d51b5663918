// The side of the page: the chosen face with a bar for every class, and the list of all faces.

import { percent, shown, title, top, unsure, words } from "./draw.js";

const STAYS = 900; // ms for which a face that was lost stays in the list
const REDRAW = 220; // ms between two pictures of a face in the list
const SPEAK = 4000; // ms between two spoken changes, at least
const STEADY = 1200; // ms for which an emotion is shown before it is spoken

const $ = (id) => document.getElementById(id);

export class Faces {
  pinned = null; // the person whom the user chose
  chosen = null; // the person who is shown
  #rows = new Map(); // key -> {button, canvas, image, name, small, seen, drawn}
  #bars = new Map(); // emotion -> {item, fill, output}
  #emotion = null;
  #since = 0;
  #spoken = { at: 0, text: "" };
  #found = new Map(); // the faces of the last result by their keys

  // chosen: what happens when the user chooses a person.
  constructor(config, chosen) {
    this.config = config;
    this.whenChosen = chosen;
    for (const name of config.emotions) {
      const item = document.createElement("li");
      const label = Object.assign(document.createElement("b"), { textContent: words(name) });
      const track = Object.assign(document.createElement("span"), { className: "track" });
      const fill = document.createElement("i");
      const output = Object.assign(document.createElement("output"), { textContent: "–" });
      track.setAttribute("role", "meter");
      track.setAttribute("aria-label", words(name));
      track.setAttribute("aria-valuemin", "0");
      track.setAttribute("aria-valuemax", "100");
      track.setAttribute("aria-valuenow", "0");
      fill.style.setProperty("--c", config.colours[name]);
      track.append(fill);
      item.append(label, track, output);
      item.dataset.emotion = name;
      $("bars").append(item);
      this.#bars.set(name, { item, track, fill, output });
      const entry = document.createElement("span");
      const patch = document.createElement("i");
      patch.style.setProperty("--c", config.colours[name]);
      entry.append(patch, words(name));
      $("legend").append(entry);
    }
  }

  clear() {
    this.pinned = this.chosen = null;
    for (const { button } of this.#rows.values()) button.remove();
    this.#rows.clear();
    this.#found.clear();
    $("people").hidden = true;
    this.#nobody("Nobody yet", "No face", "Start the camera or open a file");
  }

  // Chooses the next person of the list.
  next() {
    const keys = [...this.#rows.keys()];
    if (keys.length) this.#pin(keys[(keys.indexOf(this.chosen) + 1) % keys.length]);
  }

  // pictures: the analyzed pixels, or null if faces are not to be seen; still: no other result follows by itself.
  update(result, pictures, now, still) {
    const found = new Map(result.faces.map((face, number) => [face.track ?? `face ${number}`, face]));
    this.#found = found;
    for (const [key, face] of found) this.#row(key, face, pictures, now);
    for (const [key, row] of this.#rows) {
      if (found.has(key) || (!still && now - row.seen < STAYS)) continue;
      row.button.remove();
      this.#rows.delete(key);
      if (this.pinned === key) this.pinned = null;
    }
    const count = this.#rows.size;
    $("people").hidden = count < 2;
    $("faces").classList.toggle("many", count > 4);
    $("people-title").textContent = `${count} faces`;
    if (this.pinned !== null) this.chosen = this.pinned;
    else if (!found.has(this.chosen) || result.faces.length) this.chosen = found.keys().next().value ?? this.chosen;
    for (const [key, row] of this.#rows) row.button.setAttribute("aria-pressed", String(key === this.chosen));
    const face = found.get(this.chosen);
    if (face) this.#card(face, now, still);
    else if (!this.#rows.has(this.chosen)) this.#nobody("Nobody", "No face", "No face is in the picture");
  }

  #pin(key) {
    this.pinned = this.chosen = key;
    for (const [other, row] of this.#rows) row.button.setAttribute("aria-pressed", String(other === key));
    const face = this.#found.get(key);
    if (face) this.#card(face, performance.now(), true); // at once: a picture that stands has no other result
    this.whenChosen();
  }

  #nobody(who, feeling, sure) {
    this.#emotion = null;
    $("card").classList.add("empty");
    $("who").textContent = who;
    $("feeling").textContent = feeling;
    $("sure").textContent = sure;
    $("pose").hidden = true;
    $("face-emoji").src = `live/emoji/${encodeURIComponent(this.config.emotions.includes("neutral") ? "neutral" : this.config.emotions[0])}.png`;
    for (const { fill, output, item, track } of this.#bars.values()) {
      fill.style.setProperty("--p", 0);
      track.setAttribute("aria-valuenow", "0");
      output.textContent = "–";
      item.classList.remove("top");
    }
  }

  // still: what is shown stays.
  #card(face, now, still) {
    const values = shown(face);
    if (!values) return;
    const [emotion, probability] = top(values);
    $("card").classList.remove("empty");
    $("who").textContent = face.track === null ? "Face" : `Person ${face.track}`;
    if (emotion !== this.#emotion) {
      this.#emotion = emotion;
      this.#since = now;
      $("feeling").textContent = title(emotion);
      const image = $("face-emoji");
      image.src = `live/emoji/${encodeURIComponent(emotion)}.png`;
      image.classList.remove("pop");
      requestAnimationFrame(() => image.classList.add("pop"));
      document.documentElement.style.setProperty("--mood", this.config.colours[emotion]);
    }
    $("sure").textContent = `${percent(probability)}${unsure(face) ? ", uncertain" : ""}`;
    for (const [name, bar] of this.#bars) {
      const value = values[name] ?? 0;
      bar.fill.style.setProperty("--p", value.toFixed(3));
      bar.output.textContent = percent(value);
      bar.track.setAttribute("aria-valuenow", String(Math.round(100 * value)));
      bar.item.classList.toggle("top", name === emotion);
    }
    $("pose").hidden = !face.pose;
    if (face.pose) $("pose").textContent = `Head: yaw ${degrees(face.pose.yaw)}, pitch ${degrees(face.pose.pitch)}, roll ${degrees(face.pose.roll)}`;
    this.#speak(emotion, now, still);
  }

  // For screen readers: the emotion of what stands at once, else after it was steady, and not too often.
  #speak(emotion, now, still) {
    const text = `${$("who").textContent}: ${words(emotion)}`;
    if (text === this.#spoken.text) return;
    if (!still && (now - this.#since < STEADY || now - this.#spoken.at < SPEAK)) return;
    this.#spoken = { at: now, text };
    $("spoken").textContent = text;
  }

  #row(key, face, pictures, now) {
    let row = this.#rows.get(key);
    if (!row) {
      row = this.#newRow(key);
      this.#rows.set(key, row);
      const later = [...this.#rows.keys()].filter((other) => typeof other === "number" && other > key).sort((a, b) => a - b)[0];
      $("faces").insertBefore(row.button, later === undefined ? null : this.#rows.get(later).button);
    }
    row.seen = now;
    if (now - row.drawn < REDRAW) return;
    row.drawn = now;
    const values = shown(face);
    const [emotion, probability] = values ? top(values) : ["unknown", 0];
    row.name.textContent = title(emotion);
    row.small.textContent = `${typeof key === "number" ? `person ${key}` : key} · ${percent(probability)}`;
    if (row.emotion !== emotion) row.image.src = `live/emoji/${encodeURIComponent(emotion)}.png`;
    row.emotion = emotion;
    const pen = row.canvas.getContext("2d");
    if (pictures) {
      const [x0, y0, x1, y1] = face.box;
      const side = 1.25 * Math.max(x1 - x0, y1 - y0);
      pen.fillStyle = "#000";
      pen.fillRect(0, 0, 84, 84);
      pen.drawImage(pictures, (x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side, side, 0, 0, 84, 84);
    } else {
      pen.fillStyle = this.config.colours[emotion] ?? "#888";
      pen.fillRect(0, 0, 84, 84);
      if (row.image.complete && row.image.naturalWidth) pen.drawImage(row.image, 6, 6, 72, 72);
    }
  }

  #newRow(key) {
    const make = (kind, properties = {}) => Object.assign(document.createElement(kind), properties);
    const button = make("button", { type: "button" });
    const canvas = make("canvas", { width: 84, height: 84 });
    const image = make("img", { alt: "" });
    const [name, small, text] = [make("strong"), make("small"), make("span")];
    text.append(name, small);
    button.append(canvas, text, image);
    button.addEventListener("click", () => this.#pin(key));
    return { button, canvas, image, name, small, seen: 0, drawn: -REDRAW, emotion: null };
  }
}

const degrees = (value) => `${Math.round(value)}°`;
