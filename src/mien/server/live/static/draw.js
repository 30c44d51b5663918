// Draws faces on the picture: boxes with bars or a label, emoji in place of faces, or unrecognisable faces.

const SETTLE = 90; // ms in which a box moves to its new place, if results come seldom
const OFTEN = 120; // ms between results below which boxes are simply where they were found
const POP = 260; // ms in which a new emoji springs up
const HELD = 500; // ms for which a face that was lost stays blurred
const CELLS = 7; // squares along the longer side of a blurred face, which is its box grown by AROUND, as in mien
const AROUND = 0.22;
const EMOJI = 1.32; // side of an emoji in units of its face
const DARK = "rgb(12 14 19 / 84%)";
const FONT = getComputedStyle(document.body).fontFamily;
// Lines through the 68 points of 300-W: [first, last, closed].
const LINES = [[0, 16], [17, 21], [22, 26], [27, 30], [31, 35], [36, 41, true], [42, 47, true], [48, 59, true], [60, 67, true]];

export const words = (name) => name.replaceAll("_", " ");
export const title = (name) => words(name).charAt(0).toUpperCase() + words(name).slice(1);
export const shown = (face) => face.smoothed ?? face.emotions ?? null;
export const unsure = (face) => (face.smoothed ? face.smoothed_uncertain : face.uncertain); // of what is shown

// The most probable emotion of probabilities by name: [name, probability].
export function top(values) {
  return Object.entries(values).reduce((best, entry) => (entry[1] > best[1] ? entry : best));
}

export class Painter {
  #faces = new Map(); // key -> {face, from, box, since, emotion, popped, side}
  #lost = []; // [{box, until}] in pixels of the source, for blurring
  #updated = 0;

  constructor(config, emojis) {
    this.config = config;
    this.emojis = emojis;
    this.small = document.createElement("canvas");
  }

  clear() {
    this.#faces.clear();
    this.#lost = [];
  }

  // Takes a new result; scale is that of the analyzed frame to the source's own pixels.
  update(result, scale, now) {
    const before = this.#faces;
    const seldom = now - this.#updated > OFTEN;
    this.#updated = now;
    this.#faces = new Map();
    for (const [number, face] of result.faces.entries()) {
      const key = face.track ?? `face ${number}`;
      const old = before.get(key);
      const box = face.box.map((value) => value * scale);
      const emotion = shown(face) ? top(shown(face))[0] : null;
      const from = seldom && old && near(old.box, box) ? between(old, now) : box;
      this.#faces.set(key, { face, scale, from, box, since: now, emotion, side: old?.side, popped: old?.emotion === emotion ? old.popped : now });
    }
    for (const [key, old] of before) if (!this.#faces.has(key)) this.#lost.push({ box: old.box, until: now + HELD });
    this.#lost = this.#lost.filter((lost) => lost.until > now);
  }

  // Copies the analyzed pixels and hides the faces in them: what is shown is never newer than what was analyzed.
  blur(canvas, pixels, scale, now) {
    if (canvas.width !== pixels.width || canvas.height !== pixels.height) Object.assign(canvas, { width: pixels.width, height: pixels.height });
    const pen = canvas.getContext("2d");
    pen.drawImage(pixels, 0, 0);
    const boxes = [...this.#faces.values(), ...this.#lost.filter((lost) => lost.until > now)].map((item) => item.box.map((value) => value / scale));
    for (const [x0, y0, x1, y1] of boxes) {
      const more = AROUND * Math.max(x1 - x0, y1 - y0);
      const [left, upper] = [Math.max(0, Math.floor(x0 - more)), Math.max(0, Math.floor(y0 - more))];
      const [width, height] = [Math.min(canvas.width, Math.ceil(x1 + more)) - left, Math.min(canvas.height, Math.ceil(y1 + more)) - upper];
      if (width < 1 || height < 1) continue;
      const cell = (Math.max(x1 - x0, y1 - y0) + 2 * more) / CELLS;
      this.small.width = Math.max(1, Math.round(width / cell));
      this.small.height = Math.max(1, Math.round(height / cell));
      const tiny = this.small.getContext("2d");
      tiny.imageSmoothingQuality = "high";
      tiny.drawImage(pixels, left, upper, width, height, 0, 0, this.small.width, this.small.height);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(this.small, 0, 0, this.small.width, this.small.height, left, upper, width, height);
      pen.imageSmoothingEnabled = true;
    }
  }

  // Draws everything; view: {mode, chosen, mirrored, landmarks, source: {width, height}, width, height} in CSS pixels.
  // Returns whether something still moves.
  draw(pen, view, now) {
    const k = Math.min(view.width / view.source.width, view.height / view.source.height);
    const [left, upper] = [(view.width - k * view.source.width) / 2, (view.height - k * view.source.height) / 2];
    const picture = { x0: left, y0: upper, x1: view.width - left, y1: view.height - upper };
    const x = (value) => (view.mirrored ? view.width - left - k * value : left + k * value);
    const y = (value) => upper + k * value;
    const items = [...this.#faces.entries()].map(([key, item]) => {
      const [x0, y0, x1, y1] = between(item, now);
      const ends = [x(x0), x(x1)].sort((a, b) => a - b);
      return { key, item, x0: ends[0], x1: ends[1], y0: y(y0), y1: y(y1) };
    });
    const taken = items.map(({ x0, y0, x1, y1 }) => ({ x0, y0, x1, y1 }));
    let moving = false;
    for (const place of items) {
      const { item } = place;
      moving ||= (item.from !== item.box && now - item.since < SETTLE) || (view.mode === "emoji" && now - item.popped < POP);
      if (view.mode === "emoji") {
        this.#emoji(pen, place, view, now);
        continue;
      }
      if (view.mode !== "blur") this.#box(pen, place, place.key === view.chosen && items.length > 1);
      if (view.landmarks && view.mode !== "blur") this.#points(pen, place, (point) => [x(point[0] * item.scale), y(point[1] * item.scale)]);
    }
    if (view.mode !== "emoji") {
      for (const place of items) {
        if (!place.item.emotion) continue;
        const spot = view.mode === "bars" && this.#panelSpot(place, picture, taken);
        if (spot) this.#panel(pen, place, spot);
        else this.#label(pen, place, picture, taken);
      }
    }
    return moving;
  }

  #colour(item) {
    if (!item.emotion) return "#fff";
    const colour = this.config.colours[item.emotion]; // "#rrggbb"; half of it grey if uncertain, as in mien
    if (!unsure(item.face)) return colour;
    const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgb(${parts.map((part, at) => (part + [140, 145, 155][at]) >> 1).join(" ")})`;
  }

  #box(pen, { item, x0, y0, x1, y1 }, chosen) {
    const side = Math.min(x1 - x0, y1 - y0);
    const line = Math.max(2, Math.min(4, side * 0.025)) + (chosen ? 1.2 : 0);
    pen.beginPath();
    pen.roundRect(x0, y0, x1 - x0, y1 - y0, Math.min(18, side * 0.12));
    pen.lineWidth = line + 2;
    pen.strokeStyle = "rgb(0 0 0 / 35%)";
    pen.stroke();
    pen.lineWidth = line;
    pen.strokeStyle = this.#colour(item);
    pen.stroke();
  }

  #points(pen, { item, x0, x1 }, at) {
    const dense = item.face.keypoints;
    const points = (dense ?? Object.values(item.face.landmarks ?? {})).map(at);
    const dot = Math.max(0.9, Math.min(dense ? 2 : 3.4, (x1 - x0) * (dense ? 0.009 : 0.018)));
    if (dense && item.face.keypoint_scheme?.startsWith("300w-68")) {
      pen.beginPath();
      for (const [first, last, closed] of LINES) {
        pen.moveTo(...points[first]);
        for (let number = first + 1; number <= last; number++) pen.lineTo(...points[number]);
        if (closed) pen.closePath();
      }
      pen.lineWidth = Math.max(0.8, dot * 0.7);
      pen.strokeStyle = "rgb(255 255 255 / 55%)";
      pen.stroke();
    }
    for (const [style, more] of [["rgb(0 0 0 / 40%)", 0.8], ["#fff", 0]]) {
      pen.fillStyle = style;
      pen.beginPath();
      for (const [px, py] of points) {
        pen.moveTo(px + dot + more, py);
        pen.arc(px, py, dot + more, 0, 7);
      }
      pen.fill();
    }
  }

  #emoji(pen, { item, x0, y0, x1, y1 }, view, now) {
    const image = this.emojis.get(item.emotion ?? "unknown");
    if (!image) return;
    const part = Math.min(1, (now - item.popped) / POP);
    const spring = 1 + 0.22 * Math.sin(Math.PI * part) * (1 - part) * 2;
    const side = EMOJI * Math.max(x1 - x0, y1 - y0) * spring;
    const { right_eye: right, left_eye: left } = item.face.landmarks ?? {};
    const turn = right && left ? Math.atan2(left[1] - right[1], left[0] - right[0]) : 0;
    pen.save();
    pen.translate((x0 + x1) / 2, (y0 + y1) / 2);
    pen.rotate(view.mirrored ? -turn : turn);
    pen.shadowColor = "rgb(0 0 0 / 45%)";
    pen.shadowBlur = side * 0.06;
    pen.shadowOffsetY = side * 0.03;
    pen.drawImage(image, -side / 2, -side / 2, side, side);
    pen.restore();
  }

  // Where the bars of a face fit: beside it, inside the picture, and not on other faces or their bars.
  #panelSpot(place, picture, taken) {
    const { x0, y0, x1, y1, item } = place;
    const text = picture.x1 - picture.x0 < 560 ? 10.5 : 12.5;
    const names = this.#widest(text);
    const [width, height] = [names + text * 10.8, text * (1.45 * this.config.emotions.length + 3.5)];
    if (y1 - y0 < height * 0.3) return null;
    const gap = 10;
    const clampY = (value) => Math.max(picture.y0 + 6, Math.min(picture.y1 - height - 6, value));
    const clampX = (value) => Math.max(picture.x0 + 6, Math.min(picture.x1 - width - 6, value));
    const spots = {
      right: { x0: x1 + gap, y0: clampY(y0) },
      left: { x0: x0 - gap - width, y0: clampY(y0) },
      below: { x0: clampX((x0 + x1 - width) / 2), y0: y1 + gap },
      above: { x0: clampX((x0 + x1 - width) / 2), y0: y0 - gap - height },
    };
    for (const side of [item.side, "right", "left", "below", "above"]) {
      if (!side) continue;
      const spot = { ...spots[side], text };
      Object.assign(spot, { x1: spot.x0 + width, y1: spot.y0 + height });
      const inside = spot.x0 >= picture.x0 + 4 && spot.x1 <= picture.x1 - 4 && spot.y0 >= picture.y0 + 4 && spot.y1 <= picture.y1 - 4;
      if (inside && !taken.some((other) => overlap(spot, other))) {
        item.side = side;
        taken.push(spot);
        return spot;
      }
    }
    return null;
  }

  #panel(pen, { item }, { x0, y0, x1, y1, text }) {
    const [pad, row] = [text * 0.9, text * 1.45];
    const values = shown(item.face);
    pen.beginPath();
    pen.roundRect(x0, y0, x1 - x0, y1 - y0, text);
    pen.fillStyle = DARK;
    pen.fill();
    pen.textBaseline = "middle";
    const colour = this.#colour(item);
    let y = y0 + pad + text * 0.65;
    const side = text * 1.7;
    const image = this.emojis.get(item.emotion);
    if (image) pen.drawImage(image, x0 + pad, y - side / 2, side, side);
    this.#write(pen, title(item.emotion) + (unsure(item.face) ? "?" : ""), x0 + pad + side + text * 0.45, y, text * 1.18, colour, "left", 700);
    this.#write(pen, percent(values[item.emotion]), x1 - pad, y, text * 1.18, colour, "right", 700);
    y += text * 1.75;
    const [start, end] = [x0 + pad + this.#widest(text) + text * 0.7, x1 - pad - text * 3];
    for (const [name, value] of Object.entries(values)) {
      this.#write(pen, words(name), x0 + pad, y, text, name === item.emotion ? "#fff" : "#bac0cc", "left", 500);
      this.#write(pen, percent(value), x1 - pad, y, text, name === item.emotion ? "#fff" : "#bac0cc", "right", 500);
      for (const [share, style] of [[1, "rgb(255 255 255 / 12%)"], [value, this.config.colours[name]]]) {
        pen.beginPath();
        pen.roundRect(start, y - text * 0.27, Math.max((end - start) * share, share ? text * 0.2 : 0), text * 0.54, text * 0.27);
        pen.fillStyle = style;
        pen.fill();
      }
      y += row;
    }
  }

  // Width of the longest name of a class.
  #widest(text) {
    const pen = this.small.getContext("2d");
    pen.font = `500 ${text}px ${FONT}`;
    return Math.max(...this.config.emotions.map((name) => pen.measureText(words(name)).width));
  }

  #label(pen, { item, x0, y0, x1, y1 }, picture, taken) {
    const values = shown(item.face);
    const text = Math.max(11, Math.min(17, (x1 - x0) * 0.13));
    const wide = x1 - x0 > 74;
    const name = (wide ? title(item.emotion) : words(item.emotion)) + (unsure(item.face) ? "?" : "");
    const line = wide ? `${name}  ${percent(values[item.emotion])}` : name;
    pen.font = `650 ${text}px ${FONT}`;
    const [height, pad] = [text * 1.75, text * 0.55];
    const side = text * 1.45;
    const width = pen.measureText(line).width + side + pad * 2.3;
    const left = Math.max(picture.x0 + 3, Math.min(picture.x1 - width - 3, wide ? x0 - 1 : (x0 + x1 - width) / 2));
    const fits = [y0 - height - 5, y1 + 5, y0 + 4]
      .map((upper) => ({ x0: left, x1: left + width, y0: upper, y1: upper + height }))
      .filter((spot) => spot.y0 >= picture.y0 + 2 && spot.y1 <= picture.y1 - 2);
    const spot = fits.find((one) => !taken.some((other) => overlap(one, other))) ?? fits[0];
    if (!spot) return;
    taken.push(spot);
    pen.beginPath();
    pen.roundRect(spot.x0, spot.y0, width, height, height / 2);
    pen.fillStyle = this.#colour(item);
    pen.fill();
    const image = this.emojis.get(item.emotion);
    if (image) pen.drawImage(image, spot.x0 + pad * 0.6, spot.y0 + (height - side) / 2, side, side);
    pen.textBaseline = "middle";
    this.#write(pen, line, spot.x0 + pad * 1.1 + side, (spot.y0 + spot.y1) / 2 + 0.5, text, "#101218", "left", 650);
  }

  #write(pen, line, x, y, size, colour, align, weight) {
    pen.font = `${weight} ${size}px ${FONT}`;
    pen.textAlign = align;
    pen.fillStyle = colour;
    pen.fillText(line, x, y);
  }
}

export const percent = (value) => `${Math.round(100 * value)}%`;

function between({ from, box, since }, now) {
  const part = Math.min(1, Math.max(0, (now - since) / SETTLE));
  return from.map((value, at) => value + (box[at] - value) * part);
}

// Whether a box is so close to another that it moves there; else it jumps.
function near(a, b) {
  return Math.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) < 2 * (b[2] - b[0]);
}

function overlap(a, b) {
  return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;
}
