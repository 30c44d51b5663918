// What two small networks read from the crop of a face: its landmarks (mien.faces.landmarks.mien) and its expression
// (mien.expression.classifier).

import { interpolated } from "./detector.js";
import { cropFace, similarity } from "./pixels.js";

// The input of a network (N, 1, size, size) for faces that are placed by five points each.
function crops(image, places, spec) {
  const side = spec.size ** 2;
  const values = new Float32Array(places.length * side);
  places.forEach((points, face) => {
    cropFace(image, points, spec).data.forEach((value, at) => (values[face * side + at] = (value / 255 - spec.mean) / spec.std));
  });
  return { data: values, dims: [places.length, 1, spec.size, spec.size] };
}

// The five landmarks that dense points make: an eye is the mean of its six points.
function fiveOf(points) {
  const middle = (first) => [0, 1].map((axis) => points.slice(first, first + 6).reduce((sum, point) => sum + point[axis], 0) / 6);
  return [middle(36), middle(42), points[30], points[48], points[54]];
}

export class Landmarker {
  constructor(network, spec) {
    this.network = network;
    this.spec = spec;
  }

  // The faces with dense points, pose and the score of these points, and five landmarks made of them where they are sure.
  async refine(image, faces) {
    if (!faces.length) return [];
    const found = await this.#once(image, faces.map((face) => face.landmarks));
    let before = faces.map((face) => face.landmarks);
    for (let run = 1; run < this.spec.most; run++) {
      const five = found.map(({ points }) => fiveOf(points));
      const moved = [...five.keys()].filter((face) => {
        const apart = distance(five[face][0], five[face][1]);
        const mean = five[face].reduce((sum, point, at) => sum + distance(point, before[face][at]), 0) / 5;
        return mean > this.spec.moved * apart && apart > 1e-3;
      });
      if (!moved.length) break;
      const again = await this.#once(image, moved.map((face) => five[face]));
      moved.forEach((face, at) => (found[face] = again[at]));
      before = five;
    }
    return faces.map((face, at) => {
      const { points, pose, score } = found[at];
      const five = fiveOf(points);
      const spread = Math.min(...[0, 1].map((axis) => Math.max(...five.map((point) => point[axis])) - Math.min(...five.map((point) => point[axis]))));
      const sure = score >= this.spec.sure && spread > 0 && five.flat().every(Number.isFinite);
      return { ...face, landmarks: sure ? five : face.landmarks, keypoints: points, pose };
    });
  }

  async #once(image, places) {
    const { spec } = this;
    const outputs = await this.network(crops(image, places, spec));
    const count = outputs[spec.points].length / places.length / 2;
    return places.map((five, face) => {
      const [a, b, x, y] = similarity(five, spec.places);
      const square = a * a + b * b;
      const points = Array.from({ length: count }, (_, point) => {
        const at = 2 * (face * count + point);
        const [u, v] = [outputs[spec.points][at] * spec.size - x, outputs[spec.points][at + 1] * spec.size - y];
        return [(a * u + b * v) / square, (a * v - b * u) / square];
      });
      const [yaw, pitch, roll] = outputs[spec.pose].subarray(3 * face, 3 * face + 3);
      const turn = roll - (Math.atan2(b, a) * 180) / Math.PI + 180;
      const chance = 1 / (1 + Math.exp(-outputs[spec.score][face]));
      const score = interpolated(chance, [[0, 0], [spec.operatingPoint, 0.5], [1, 1]]);
      return { points, pose: [yaw, pitch, turn - 360 * Math.floor(turn / 360) - 180], score };
    });
  }
}

const distance = ([x0, y0], [x1, y1]) => Math.hypot(x1 - x0, y1 - y0);

export class Classifier {
  constructor(network, spec) {
    this.network = network;
    this.spec = spec;
  }

  // The probabilities of each face, in the order of the classes.
  async probabilities(image, faces) {
    if (!faces.length) return [];
    const { spec } = this;
    const logits = (await this.network(crops(image, faces.map((face) => face.landmarks), spec)))[spec.output];
    const count = logits.length / faces.length;
    return faces.map((_, face) => this.#converted(softmax([...logits.subarray(face * count, (face + 1) * count)], spec.temperature)));
  }

  // From the classes of the network's output to those that are shown, under the class frequencies that are assumed.
  #converted(known) {
    const { mapping, factors } = this.spec;
    const sums = mapping[0].map((_, to) => known.reduce((sum, value, from) => sum + value * mapping[from][to], 0));
    const total = sums.reduce((sum, value) => sum + value, 0);
    const shares = sums.map((value) => (total > 0 ? value / total : 1 / sums.length));
    if (!factors) return shares;
    const changed = shares.map((value, at) => value * factors[at]);
    const all = changed.reduce((sum, value) => sum + value, 0);
    return all > 0 ? changed.map((value) => value / all) : shares;
  }

  // Valence and arousal: the means of the classes' coordinates; null if there is no probability on an emotion.
  affect(probabilities) {
    const { affect } = this.spec;
    if (!affect) return null;
    const weights = probabilities.map((value, at) => (affect.counted[at] ? value : 0));
    const total = weights.reduce((sum, value) => sum + value, 0);
    if (!(total > 0)) return null;
    const mean = (column) => weights.reduce((sum, weight, at) => sum + weight * affect.values[at][column], 0) / total;
    return Object.fromEntries(affect.names.map((name, column) => [name, mean(column)]));
  }
}

function softmax(logits, temperature) {
  const most = Math.max(...logits);
  const values = logits.map((value) => Math.exp((value - most) / temperature));
  const total = values.reduce((sum, value) => sum + value, 0);
  return values.map((value) => value / total);
}
