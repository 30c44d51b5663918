// The analysis of one page: frames in, results in the form of mien's JSON out, with persons and smoothing in videos.

import { Detector, iou } from "./detector.js";
import { Classifier, Landmarker } from "./networks.js";

const SAME = 0.2; // IoU from which a face is the one of the frame before
const LOST = 1; // seconds for which a person whose face was lost keeps the number

// Follows the persons of one source by the places of their faces.
class Persons {
  #known = []; // {track, box, seen}
  #next = 0;

  numbered(faces, seconds) {
    this.#known = this.#known.filter(({ seen }) => seconds - seen <= LOST);
    const pairs = faces.flatMap((face, at) => this.#known.map((person) => ({ at, person, share: iou(face.box, person.box) })));
    const tracks = new Map();
    for (const { at, person, share } of pairs.sort((one, other) => other.share - one.share)) {
      if (share >= SAME && !tracks.has(at) && ![...tracks.values()].includes(person)) tracks.set(at, person);
    }
    return faces.map((face, at) => {
      const person = tracks.get(at) ?? { track: this.#next++ };
      if (!tracks.has(at)) this.#known.push(person);
      Object.assign(person, { box: face.box, seen: seconds });
      return person.track;
    });
  }
}

// The mean of a person's probabilities over the last moment, with weights that fall to its begin (mien.expression.smoothing).
class Smoother {
  #histories = new Map(); // track -> [[seconds, probabilities, affect], ...]

  constructor(seconds) {
    this.seconds = seconds;
  }

  smoothed(track, seconds, probabilities, affect) {
    const history = [...(this.#histories.get(track) ?? []), [seconds, probabilities, affect]].filter(([time]) => time >= seconds - this.seconds);
    this.#histories.set(track, history);
    const weights = history.map(([time]) => Math.max(0, 1 + (time - seconds) / this.seconds));
    const mean = (value) => history.reduce((sum, row, at) => sum + weights[at] * value(row), 0) / weights.reduce((sum, weight) => sum + weight, 0);
    const known = history.every(([, , each]) => each);
    return {
      probabilities: probabilities.map((_, at) => mean(([, row]) => row[at])),
      affect: known ? Object.fromEntries(Object.keys(affect).map((name) => [name, mean(([, , each]) => each[name])])) : null,
    };
  }

  // Forgets persons who were not seen for the length of the window.
  forget(seconds) {
    for (const [track, history] of this.#histories) if (history.at(-1)[0] < seconds - this.seconds) this.#histories.delete(track);
  }
}

export class Analysis {
  // networks: {detector, landmarks, classifier}, each runs one network; config: what Python wrote for the page.
  constructor(networks, config) {
    this.config = config;
    this.detector = new Detector(networks.detector, config.detector);
    this.landmarker = new Landmarker(networks.landmarks, config.landmarks);
    this.classifier = new Classifier(networks.classifier, config.classifier);
    this.#begin("");
  }

  // The result of a frame: an RGB image. still: an image and not a frame of a video.
  async analyze(image, { seconds = 0, still = true, source = "", largest_only = false, keypoints = false } = {}) {
    if (!still && (source !== this.source || seconds < this.seconds)) this.#begin(source);
    const { emotions, threshold } = this.config.classifier;
    let faces = await this.landmarker.refine(image, await this.detector.find(image));
    const tracks = still ? faces.map(() => null) : this.persons.numbered(faces, seconds);
    faces = faces.map((face, at) => ({ ...face, track: tracks[at] })).slice(0, largest_only ? 1 : undefined);
    const rows = await this.classifier.probabilities(image, faces);
    const found = faces.map((face, at) => {
      const affect = this.classifier.affect(rows[at]);
      const confidence = Math.max(...rows[at]);
      const smooth = !still && this.smoother ? this.smoother.smoothed(face.track, seconds, rows[at], affect) : null;
      return {
        box: face.box,
        score: face.score,
        landmarks: named(this.config.points, face.landmarks),
        track: face.track,
        keypoint_scheme: keypoints ? this.config.landmarks.scheme : null,
        keypoints: keypoints ? face.keypoints : null,
        pose: keypoints ? named(this.config.angles, face.pose) : null,
        measures: null,
        smoothed: smooth && named(emotions, smooth.probabilities),
        smoothed_affect: smooth && smooth.affect,
        smoothed_uncertain: smooth && Math.max(...smooth.probabilities) < threshold,
        emotion: emotions[rows[at].indexOf(confidence)],
        confidence,
        uncertain: confidence < threshold,
        emotions: named(emotions, rows[at]),
        affect,
      };
    });
    if (!still) {
      this.smoother?.forget(seconds);
      this.seconds = seconds;
    }
    const frame = still ? 0 : this.frame++;
    return { schema: this.config.schema, source, frame, timestamp: still ? null : seconds, width: image.width, height: image.height, faces: found, error: null, note: null };
  }

  // New persons, for a new source or a video that begins again.
  #begin(source) {
    Object.assign(this, { source, seconds: 0, frame: 0, persons: new Persons() });
    this.smoother = this.config.smooth > 0 ? new Smoother(this.config.smooth) : null;
  }
}

const named = (names, values) => Object.fromEntries(names.map((name, at) => [name, values[at]]));
