// The last minute: the chosen face's probabilities, stacked over time, and a ribbon for each other person.

const SECONDS = 60;
const APART = 0.09; // seconds between two kept samples
const GAP = 2; // seconds without a sample that are left blank
const RIBBON = 7; // pixels
const MOST_RIBBONS = 4;

export class Strip {
  #tracks = new Map(); // track -> [{at, values}]

  constructor(canvas, config) {
    this.canvas = canvas;
    this.config = config;
  }

  clear() {
    this.#tracks.clear();
  }

  // values: probabilities in the order of config.emotions; at: seconds of the page's clock
  add(track, values, at) {
    const samples = this.#tracks.get(track) ?? [];
    this.#tracks.set(track, samples);
    if (samples.length && at - samples.at(-1).at < APART) return;
    samples.push({ at, values });
  }

  // What a track showed most, as words.
  summary(track, now) {
    const sums = this.config.emotions.map((_, at) => this.#recent(track, now).reduce((sum, sample) => sum + sample.values[at], 0));
    const total = sums.reduce((sum, value) => sum + value, 0);
    if (!total) return "Nothing was seen in the last minute";
    const parts = sums.map((sum, at) => [sum / total, this.config.emotions[at]]).sort((a, b) => b[0] - a[0]).filter(([share]) => share >= 0.1);
    return `Last minute: ${parts.map(([share, name]) => `${name.replaceAll("_", " ")} ${Math.round(100 * share)}%`).join(", ")}`;
  }

  draw(chosen, now) {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const x = (at) => width * (1 - (now - at) / SECONDS);
    const others = [];
    for (const [track, samples] of this.#tracks) {
      while (samples.length && samples[0].at < now - SECONDS - GAP) samples.shift();
      if (!samples.length) this.#tracks.delete(track);
      else if (track !== chosen) others.push(samples);
    }
    others.sort((a, b) => b.length - a.length).splice(MOST_RIBBONS);
    const floor = height - others.length * (RIBBON + 3);
    this.#area(pen, this.#recent(chosen, now), x, floor);
    others.forEach((samples, row) => this.#ribbon(pen, samples, x, floor + 3 + row * (RIBBON + 3)));
    pen.fillStyle = getComputedStyle(canvas).color;
    for (const part of [0.25, 0.5, 0.75]) pen.fillRect(Math.round(width * part), 0, 1, height);
  }

  #recent(track, now) {
    return (this.#tracks.get(track) ?? []).filter((sample) => sample.at >= now - SECONDS - GAP);
  }

  #area(pen, samples, x, floor) {
    for (const run of runs(samples)) {
      const sums = run.map(() => 0);
      for (const [number, name] of this.config.emotions.entries()) {
        const bottoms = sums.slice();
        run.forEach((sample, at) => (sums[at] += sample.values[number]));
        pen.beginPath();
        run.forEach((sample, at) => pen.lineTo(x(sample.at), floor * (1 - sums[at])));
        for (let at = run.length - 1; at >= 0; at--) pen.lineTo(x(run[at].at), floor * (1 - bottoms[at]));
        pen.closePath();
        pen.fillStyle = this.config.colours[name];
        pen.fill();
      }
    }
  }

  #ribbon(pen, samples, x, y) {
    for (const run of runs(samples)) {
      for (let at = 1; at < run.length; at++) {
        const { values } = run[at];
        pen.fillStyle = this.config.colours[this.config.emotions[values.indexOf(Math.max(...values))]];
        pen.fillRect(x(run[at - 1].at), y, x(run[at].at) - x(run[at - 1].at) + 0.6, RIBBON);
      }
    }
  }
}

// Samples without gaps between them.
function runs(samples) {
  const found = [];
  for (const sample of samples) {
    const run = found.at(-1);
    if (run && sample.at - run.at(-1).at < GAP) run.push(sample);
    else found.push([sample]);
  }
  return found.filter((run) => run.length > 1);
}
