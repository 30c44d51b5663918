// Runs the networks beside the page, so that it stays responsive: frames in, results out.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { Analysis } from "./analysis.js";
import { fromCanvas } from "./pixels.js";

let analysis = null;

async function session(file) {
  return ort.InferenceSession.create(new URL(`models/${file}`, import.meta.url).href, { executionProviders: ["wasm"] });
}

async function begin(config) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("runtime/", import.meta.url).href;
  const [detector, landmarks, classifier] = await Promise.all([config.detector, config.landmarks, config.classifier].map(({ file }) => session(file)));
  const crops = (network) => async ({ data, dims }) => {
    const outputs = await network.run({ [network.inputNames[0]]: new ort.Tensor("float32", data, dims) });
    return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, tensor.data]));
  };
  const search = async ({ data, width, height }) => {
    const outputs = await detector.run({ [detector.inputNames[0]]: new ort.Tensor("uint8", data, [1, height, width, 3]) }, [config.detector.output]);
    return outputs[config.detector.output].data;
  };
  analysis = new Analysis({ detector: search, landmarks: crops(landmarks), classifier: crops(classifier) }, config);
}

async function decoded(file) {
  const bitmap = await createImageBitmap(new Blob([file]));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return fromCanvas(pen.getImageData(0, 0, canvas.width, canvas.height));
}

let turn = Promise.resolve(); // one message after the other

addEventListener("message", ({ data }) => {
  turn = turn.then(() => answer(data));
});

async function answer({ config, number, file, frame }) {
  try {
    if (config) {
      await begin(config);
      return postMessage({ type: "welcome" });
    }
    const start = performance.now();
    const result = await analysis.analyze(await decoded(file), frame);
    postMessage({ type: "result", number, result, ms: performance.now() - start });
  } catch (error) {
    postMessage({ type: config ? "lost" : "failed", number, message: String(error.message ?? error) });
  }
}
