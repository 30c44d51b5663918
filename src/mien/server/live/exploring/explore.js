// What a layer of the network gives for the camera's frames: the sheet of its units, and one of them enlarged.

import { Source, SourceError } from "/live/source.js";

const $ = (id) => document.getElementById(id);
const config = await (await fetch("/live/config.json")).json();
const source = new Source($("video"), $("still"), 0);
const times = []; // of the latest answers
let waiting = false; // for the answer to a frame
let unit = null; // null: the strongest one

const layer = () => config.layers[$("layer").selectedIndex];

function describe() {
  const { units, shown, columns } = layer();
  const which = shown < units ? `The first ${shown} of ${units} units.` : `All ${units} units.`;
  $("legend").textContent = `${which} ${columns ? "Dark is the lowest, bright the highest activation of the unit." : "One bar for each unit, up for positive values."}`;
  $("number").max = units - 1;
}

function choose(number) {
  unit = number;
  $("number").value = number ?? "";
}

function go(step) {
  const list = $("layer");
  list.selectedIndex = Math.min(Math.max(list.selectedIndex + step, 0), list.length - 1);
  choose(null);
  describe();
}

function say(text, bad = false) {
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").dataset.kind = bad ? "bad" : "";
}

function show(id, url) {
  $(id).hidden = !url;
  if (url) $(id).src = url;
}

function draw(found, wanted) {
  if (wanted !== layer()) return; // another layer was chosen in the meantime
  if (!found.face) return say("No face is in the image.");
  say("Frames go only to mien on this computer, and are not stored.");
  show("seen", found.seen);
  show("sheet", found.sheet);
  show("map", found.map);
  const meaning = wanted.meanings[found.unit];
  $("unit").textContent = meaning ? `${found.unit}: ${meaning.replace("_", " ")}` : found.unit;
  $("activation").textContent = found.activation.toPrecision(3);
  const now = performance.now();
  times.push(now);
  while (times[0] < now - 2000) times.shift();
  $("fps").textContent = (times.length / 2).toFixed(1);
  document.body.dataset.layer = wanted.name;
  document.body.dataset.unit = found.unit;
}

source.addEventListener("frame", async ({ detail: { now, metadata } }) => {
  if (waiting) return;
  waiting = true;
  const about = source.take(now, metadata);
  try {
    const wanted = layer();
    const query = new URLSearchParams({ layer: wanted.name, unit: unit ?? "" });
    const answer = await fetch(`/explore/frame?${query}`, { method: "POST", body: await about.file() });
    const found = await answer.json();
    if (answer.ok) draw(found, wanted);
    else say(found.error.message, true);
  } catch {
    say("mien does not answer. Start the command again.", true);
    await new Promise((resolve) => setTimeout(resolve, 1000));
  } finally {
    source.recycle(about.canvas);
    waiting = false;
  }
});

source.addEventListener("ended", () => say("The camera was disconnected.", true));

$("start").addEventListener("click", async () => {
  try {
    await source.camera();
    $("pause").disabled = false;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    say(`${error.title}. ${error.text}`, true);
  }
});

$("pause").addEventListener("click", () => {
  const video = $("video");
  if (video.paused) video.play();
  else video.pause();
  $("pause").setAttribute("aria-pressed", String(video.paused));
});

$("layer").addEventListener("change", () => go(0));
$("strongest").addEventListener("click", () => choose(null));
$("number").addEventListener("change", ({ target }) => choose(target.value !== "" && target.checkValidity() ? Number(target.value) : null));
$("sheet").addEventListener("click", ({ offsetX, offsetY, target }) => {
  const { shown, columns } = layer();
  const across = offsetX / target.clientWidth;
  const rows = Math.ceil(shown / columns);
  const number = columns ? Math.floor((offsetY / target.clientHeight) * rows) * columns + Math.floor(across * columns) : Math.floor(across * shown);
  if (number < shown) choose(number);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key === "j") go(1);
  if (event.key === "k") go(-1);
});

$("model").textContent = config.model;
$("about").textContent = `${config.layers.length} layers. Made by mien ${config.version}.`;
$("layer").append(...config.layers.map(({ name, kind, units, size }) => new Option(`${name} · ${kind}, ${units} units, ${size}`)));
describe();
