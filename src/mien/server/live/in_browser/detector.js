// mien's detector: an image in, faces out, as mien.faces.detectors.mien does it.

import { clamp, shrunk } from "./pixels.js";

const VALUES = 15; // of a cell: score, centre, size, five points

export class Detector {
  // network: runs a tensor; numbers: the constants of the detector, from Python.
  constructor(network, numbers) {
    this.network = network;
    this.numbers = numbers;
  }

  // The faces of an RGB image, largest first: {box: [x0, y0, x1, y1], score, landmarks: five points}.
  async find(image) {
    const { largest, maxSide, enlarged } = this.numbers;
    const long = Math.max(image.width, image.height);
    const whole = long > maxSide ? maxSide / long : clamp(maxSide / long, 1, enlarged);
    let scale = whole;
    let found = await this.#candidates(image, scale);
    while (found.some(({ side, score }) => side >= largest / scale && score >= this.numbers.suspected)) {
      scale /= 2;
      const border = largest / 4 / scale; // each search counts for its range of sizes; around the border both count
      found = found.filter(({ side }) => side < 1.2 * border);
      found.push(...(await this.#candidates(image, scale)).filter(({ side }) => side >= border / 1.2));
    }
    return this.#faces(found, whole);
  }

  async #candidates(image, scale) {
    const [sheet, fx, fy] = this.#prepared(image, scale);
    const cells = await this.network(sheet);
    const { strides, lowest, candidates: most } = this.numbers;
    const least = Math.log(lowest / (1 - lowest));
    const found = [];
    let at = 0;
    for (const stride of strides) {
      for (let y = 0; y < Math.floor(sheet.height / stride); y++) {
        for (let x = 0; x < Math.floor(sheet.width / stride); x++, at += VALUES) {
          if (cells[at] < least) continue;
          const [left, top] = [(x + 0.5) * stride, (y + 0.5) * stride];
          const [cx, cy] = [left + cells[at + 1] * stride, top + cells[at + 2] * stride];
          const [w, h] = [3, 4].map((part) => (Math.exp(clamp(cells[at + part], -6, 6)) * stride) / 2);
          const places = [(cx - w) / fx, (cy - h) / fy, (cx + w) / fx, (cy + h) / fy];
          for (let point = 5; point < VALUES; point += 2) {
            places.push((left + cells[at + point] * stride) / fx, (top + cells[at + point + 1] * stride) / fy);
          }
          found.push({ score: 1 / (1 + Math.exp(-cells[at])), places, side: Math.sqrt(area(places)) });
        }
      }
    }
    return found.length > most ? found.sort((one, other) => other.score - one.score).slice(0, most) : found;
  }

  // The image to search: dark ones smoother and brighter, with whole cells.
  #prepared(image, scale) {
    let [small, fx, fy] = shrunk(image, scale);
    small = this.#brightened(small);
    const coarsest = this.numbers.strides.at(-1);
    const width = Math.ceil(small.width / coarsest) * coarsest;
    const height = Math.ceil(small.height / coarsest) * coarsest;
    const data = new Uint8Array(width * height * 3);
    for (let y = 0; y < small.height; y++) {
      data.set(small.data.subarray(y * small.width * 3, (y + 1) * small.width * 3), y * width * 3);
    }
    return [{ width, height, data }, fx, fy];
  }

  #brightened(image) {
    const { dark, bright, gain: most, sampled } = this.numbers;
    const sample = [];
    for (let y = 0; y < image.height; y += sampled) {
      for (let x = 0; x < image.width; x += sampled) {
        const at = (y * image.width + x) * 3;
        sample.push(image.data[at], image.data[at + 1], image.data[at + 2]);
      }
    }
    if (sample.filter((value) => value >= dark).length > 0.05 * sample.length + 1) return image;
    sample.sort((one, other) => one - other);
    const place = 0.95 * (sample.length - 1);
    const low = sample[Math.floor(place)];
    const level = low + (place % 1) * (sample[Math.ceil(place)] - low);
    if (level >= dark) return image;
    const gain = Math.min(most, bright / Math.max(level, 1));
    const smooth = blurred(image);
    for (let at = 0; at < smooth.data.length; at++) smooth.data[at] = Math.min(255, Math.floor(smooth.data[at] * gain));
    return smooth;
  }

  // One face for all its candidates: their weighted mean.
  #faces(cells, scale) {
    const { same, agree } = this.numbers;
    const kept = [];
    for (const cell of cells.toSorted((one, other) => other.score - one.score)) {
      if (kept.every((other) => iou(other.places, cell.places) < same)) kept.push(cell);
    }
    const outer = kept.filter((inner) => !kept.some((other) => contains(other, inner)));
    return outer
      .map((face) => {
        const places = new Array(14).fill(0);
        let total = 0;
        for (const cell of cells) {
          if (iou(face.places, cell.places) < agree) continue;
          total += cell.score;
          cell.places.forEach((value, at) => (places[at] += value * cell.score));
        }
        const [x0, y0, x1, y1, ...points] = places.map((value) => value / total);
        const landmarks = [0, 2, 4, 6, 8].map((at) => [points[at], points[at + 1]]);
        return { box: [x0, y0, x1, y1], score: this.#calibrated(face.score, face.side * scale), landmarks };
      })
      .filter(({ score }) => score >= this.numbers.minScore)
      .sort((one, other) => area(other.box) - area(one.box));
  }

  // The score, mapped so that 0.5 is the operating point of faces of this side.
  #calibrated(score, side) {
    const { operatingPoint, bySize } = this.numbers;
    const point = bySize.length ? interpolated(Math.log(Math.max(side, 1e-6)), bySize.map(([known, value]) => [Math.log(known), value])) : operatingPoint;
    return score < point ? (0.5 * score) / point : 0.5 + (0.5 * (score - point)) / (1 - point);
  }
}

export function interpolated(value, points) {
  if (value <= points[0][0]) return points[0][1];
  for (let at = 1; at < points.length; at++) {
    const [[x0, y0], [x1, y1]] = [points[at - 1], points[at]];
    if (value <= x1) return y0 + ((value - x0) / (x1 - x0)) * (y1 - y0);
  }
  return points.at(-1)[1];
}

export const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

function common(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(0, width) * Math.max(0, height);
}

export function iou(one, other) {
  const both = common(one, other);
  return both / Math.max(area(one) + area(other) - both, 1e-9);
}

// Whether a face is at least 80% inside a much larger one of a similar score: a face contains no other face.
function contains(other, inner) {
  return (
    area(other.places) > 2 * area(inner.places) &&
    other.score >= 0.6 * inner.score &&
    common(other.places, inner.places) >= 0.8 * area(inner.places)
  );
}

// The mean of each pixel and its eight neighbours; at the border the image is mirrored.
function blurred({ width, height, depth, data }) {
  const out = new Uint8Array(data.length);
  const inside = (at, limit) => (limit === 1 ? 0 : at < 0 ? -at : at >= limit ? 2 * limit - 2 - at : at);
  for (let y = 0; y < height; y++) {
    const rows = [-1, 0, 1].map((step) => inside(y + step, height) * width);
    for (let x = 0; x < width; x++) {
      const columns = [-1, 0, 1].map((step) => inside(x + step, width));
      for (let channel = 0; channel < depth; channel++) {
        let sum = 0;
        for (const row of rows) for (const column of columns) sum += data[(row + column) * depth + channel];
        out[(y * width + x) * depth + channel] = Math.round(sum / 9);
      }
    }
  }
  return { width, height, depth, data: out };
}
