// Connects the parts of the page: pictures to mien, results to what is drawn.

import { Connection } from "./connection.js";
import { Painter, shown, top } from "./draw.js";
import { Faces } from "./faces.js";
import { Source, SourceError } from "./source.js";
import { Strip } from "./strip.js";
import { Table } from "./table.js";
import { Teacher } from "./teach.js";

const $ = (id) => document.getElementById(id);
const MODES = ["bars", "labels", "emoji", "blur"];
const NO_FACE = 1000; // ms without a face after which the page says so
const SEEN = 2000; // ms for which the last face tells that somebody is there
const STRIP = 150; // ms between two drawings of the last minute
const LINKS = {
  connecting: ["Connecting", ""],
  open: ["Connected", ""],
  lost: ["Connection lost", "Connection to mien lost. Trying again…"],
  busy: ["Server busy", "mien is busy with other pages. Trying again…"],
  key: ["Key needed", ""],
  broken: ["Cannot run here", "This browser cannot run the networks."],
};

const config = await (await fetch("live/config.json")).json();
if (config.browser) {
  LINKS.connecting[0] = "Loading the networks";
  LINKS.open[0] = "In this browser";
  $("link-text").textContent = LINKS.connecting[0];
}
const emojis = new Map();
for (const name of [...config.emotions, "unknown"]) {
  const image = new Image();
  image.src = `live/emoji/${encodeURIComponent(name)}.png`;
  emojis.set(name, image);
}

const settings = { mode: "bars", largest: false, landmarks: false, mirror: null, theme: "", keys: true, ...stored() };
const fragment = new URLSearchParams(location.hash.slice(1));
const socket = new URL("live/socket", location.href);
socket.protocol = socket.protocol.replace("http", "ws");
socket.hash = "";
const connection = config.browser
  ? new (await import("./local.js")).LocalConnection(config.browser)
  : new Connection(socket, fragment.get("key") ?? session("key") ?? "");
const source = new Source($("video"), document.createElement("canvas"), config.mostBytes);
const painter = new Painter(config, emojis);
const faces = new Faces(config, () => {
  dirty = true;
  strip.draw(faces.chosen, performance.now() / 1000);
});
const strip = new Strip($("strip"), config);
const table = new Table(config.columns);
const times = []; // when results came, in the last seconds
let last = null; // the newest result with its pixels: {result, about}
let lastFace = 0; // when a face was seen
let delay = 0;
let looped = false; // the video has begun again
let dirty = false;
let stripDrawn = 0;

// ---- Pictures to mien

source.addEventListener("frame", ({ detail }) => connection.ready && send(detail.now, detail.metadata));

let sent = Promise.resolve(); // frames are encoded side by side, and sent in their order

function send(now, metadata) {
  const frame = source.take(now, metadata);
  const number = connection.begin({ ...frame, source: source.name, stands: !source.playing, all: !onlyLargest() });
  const encoded = frame.file();
  sent = sent.then(async () => {
    try {
      connection.send(number, await encoded, frame.seconds, frame.still);
    } catch {
      connection.drop(number);
      source.recycle(frame.canvas);
    }
  });
}

// Analyzes what stands still: an image, or a paused video. Waits for its turn.
function sendStill() {
  clearTimeout(sendStill.again);
  if (!source.kind || source.playing) return;
  if (connection.ready) send(performance.now());
  else sendStill.again = setTimeout(sendStill, 60);
}

connection.addEventListener("result", ({ detail: { result, ms, about } }) => {
  if (about.source !== source.name || !source.kind) return source.recycle(about.canvas);
  const now = performance.now();
  result.source = source.name;
  const scale = 1 / about.scale;
  const repeated = about.stands && last?.about.stands; // the same image with other settings
  painter.update(result, scale, now);
  looped ||= source.kind === "video" && last && result.timestamp < last.result.timestamp;
  if (!looped) table.add(result, scale, repeated); // a video that begins again adds nothing
  if (result.faces.length) lastFace = now;
  if (!about.still) {
    times.push(now);
    for (const face of result.faces) if (shown(face)) strip.add(face.track, config.emotions.map((name) => shown(face)[name]), now / 1000);
  }
  faces.update(result, settings.mode === "blur" || settings.mode === "emoji" ? null : pixelsOf(about), now, about.still);
  if (last && last.about.canvas !== about.canvas) source.recycle(last.about.canvas);
  last = { result, about };
  $("stage").dataset.frame = result.frame;
  if (settings.mode === "blur") blurred();
  dirty = true;
  requestAnimationFrame(() => {
    const passed = performance.now() - about.captured; // the loop has drawn the result
    delay = delay ? delay + (passed - delay) / 8 : passed;
    dispatchEvent(new CustomEvent("mien-shown", { detail: { delay: passed, work: ms } })); // for benchmarks/live.py
  });
});

connection.addEventListener("failed", ({ detail: { error, about } }) => {
  source.recycle(about.canvas);
  toast(error.message);
});

connection.addEventListener("state", ({ detail: state }) => {
  $("link").dataset.link = state;
  $("link-text").textContent = LINKS[state][0];
  $("key-form").hidden = state !== "key";
  if (state === "broken" && connection.reason) LINKS.broken[1] = `The networks cannot be loaded: ${connection.reason}. Reload the page to try again.`;
  if (state === "open" && $("cover").dataset.kind === "key" && source.kind) live();
  else if (state === "open" && $("cover").dataset.kind === "key") home("", "What does your face show?", "Use the camera, or open a photo or a video.");
  if (state === "key") {
    home("key", "This page needs a key", "The address that mien printed has it. Or enter the key here.");
    $("key").focus();
  }
  notices();
});

connection.addEventListener("welcome", () => {
  session("key", connection.key);
  sendStill();
});

// The pixels in which result.faces have their boxes.
const pixelsOf = (about) => (about.still && about.scale !== 1 ? scaled(about) : about.canvas);

function scaled(about) {
  about.small ??= Object.assign(document.createElement("canvas"), { width: about.canvas.width * about.scale, height: about.canvas.height * about.scale });
  about.small.getContext("2d").drawImage(about.canvas, 0, 0, about.small.width, about.small.height);
  return about.small;
}

// ---- What is shown

// Whether only the largest face is wanted; never where faces are to be hidden, because all have to be found then.
const onlyLargest = () => settings.largest && settings.mode !== "blur";

function blurred() {
  if (last?.about.all) painter.blur($("still"), last.about.canvas, last.about.still ? 1 : 1 / last.about.scale, performance.now());
  else $("still").width = $("still").width; // nothing is shown in which not all faces were looked for
}

// Shows the source in the present mode.
function arrange() {
  document.body.dataset.mode = settings.mode;
  document.body.dataset.picture = source.kind === "image" ? "still" : "moving";
  $("stage").classList.toggle("mirrored", mirrored());
  if (source.kind) document.documentElement.style.setProperty("--ratio", (source.size.width / source.size.height).toFixed(4));
  if (settings.mode === "blur") blurred();
  else if (source.kind === "image") {
    Object.assign($("still"), source.size);
    $("still").getContext("2d").drawImage(source.still, 0, 0);
  }
  dirty = true;
}

const mirrored = () => settings.mirror ?? source.mirrored;

function view(width, height) {
  return { mode: settings.mode, chosen: faces.chosen, mirrored: mirrored(), landmarks: settings.landmarks, source: source.size, width, height };
}

function loop(now) {
  requestAnimationFrame(loop);
  if (source.kind && dirty) {
    const canvas = $("overlay");
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    dirty = painter.draw(pen, view(width, height), performance.now());
  }
  if (source.playing && now - stripDrawn > STRIP) {
    stripDrawn = now;
    strip.draw(faces.chosen, performance.now() / 1000);
  }
}
requestAnimationFrame(loop);
new ResizeObserver(() => (dirty = true)).observe($("stage"));

setInterval(() => {
  const now = performance.now();
  while (times.length && times[0] < now - 2000) times.shift();
  const running = source.playing && times.length > 1;
  document.body.classList.toggle("fast", running && times.length > 20); // in two seconds: then nothing needs to glide
  $("fps").textContent = running ? Math.round((1000 * (times.length - 1)) / Math.max(1, times.at(-1) - times[0])) : "–";
  $("delay").textContent = running ? Math.round(delay) : "–";
  $("rows").textContent = table.length ? `${table.length.toLocaleString("en")} ${table.length === 1 ? "row" : "rows"}` : "Table";
  $("strip").setAttribute("aria-label", strip.summary(faces.chosen, now / 1000));
  if (table.full && !table.said) toast((table.said = "The table is full. Save it, then clear it in the help."));
  notices();
}, 500);

function notices() {
  const link = source.kind || connection.state === "broken" ? LINKS[connection.state][1] : "";
  const none = source.kind && connection.state === "open" && last && !last.result.faces.length && performance.now() - lastFace > NO_FACE ? "No face is in the picture" : "";
  const text = link || none;
  if ($("notice").textContent !== text) $("notice").textContent = text;
  $("notice").hidden = !text;
  $("notice").dataset.kind = link ? "bad" : "";
}

// ---- Sources

source.addEventListener("change", () => {
  if (last) source.recycle(last.about.canvas);
  last = null;
  looped = false;
  delay = 0;
  times.length = 0;
  lastFace = performance.now();
  painter.clear();
  faces.clear();
  strip.clear();
  connection.settings({ source: [...source.name].slice(0, config.longestName).join("") });
  live();
  pressed("pause", false);
  $("paused").hidden = true;
  $("pause").disabled = source.kind === "image";
  arrange();
  pressed("mirror", mirrored());
  sendStill();
});

source.addEventListener("turned", () => source.kind && arrange());

source.addEventListener("ended", () => {
  source.stop();
  home("bad", "The camera was disconnected", "Connect it and try again, or open a photo or a video.");
});

async function useCamera(id) {
  $("start-camera").disabled = true;
  try {
    const used = await source.camera(id);
    if (used === null) return; // another source was chosen meanwhile
    const cameras = await source.cameras();
    $("cameras").hidden = cameras.length < 2;
    $("cameras").replaceChildren(...cameras.map((camera, at) => new Option(camera.label || `Camera ${at + 1}`, camera.deviceId, false, camera.deviceId === used)));
  } catch (error) {
    failed(error);
  } finally {
    $("start-camera").disabled = false;
  }
}

async function useFile(file) {
  if (!file) return;
  try {
    await source.file(file);
  } catch (error) {
    failed(error);
  }
}

function failed(error) {
  if (!(error instanceof SourceError)) throw error;
  if (source.kind) toast(`${error.title}. ${error.text}`);
  else home(error.kind === "file" ? "file" : "bad", error.title, error.text);
}

// The screen with the picture.
function live() {
  document.body.dataset.state = "live";
  $("cover").dataset.kind = "";
  pressed("camera", source.kind === "camera");
}

// The first screen, with what went wrong.
function home(kind, heading, text) {
  document.body.dataset.state = "start";
  $("cover").dataset.kind = kind;
  $("cover-title").textContent = heading;
  $("cover-text").textContent = text;
  $("start-camera-text").textContent = kind === "bad" ? "Try the camera again" : "Use the camera";
  pressed("camera", false);
}

// ---- Controls

function pressed(id, on) {
  $(id).setAttribute("aria-pressed", String(on));
}

function keep(changed) {
  Object.assign(settings, changed);
  try {
    localStorage.setItem("mien", JSON.stringify(settings));
  } catch {} // a page may be denied storage; then nothing is remembered
  apply();
}

function apply() {
  document.documentElement.dataset.theme = settings.theme;
  document.body.classList.toggle("nokeys", !settings.keys);
  $("use-keys").checked = settings.keys;
  for (const input of document.getElementsByName("mode")) input.checked = input.value === settings.mode;
  pressed("largest", onlyLargest());
  $("largest").disabled = settings.mode === "blur";
  pressed("landmarks", settings.landmarks);
  pressed("mirror", mirrored());
  connection.settings({ largest_only: onlyLargest(), keypoints: settings.landmarks });
  arrange();
  sendStill();
}

const actions = {
  camera: () => (source.kind === "camera" ? leave() : useCamera()),
  open: () => $("file").click(),
  largest: () => settings.mode !== "blur" && keep({ largest: !settings.largest }),
  landmarks: () => keep({ landmarks: !settings.landmarks }),
  mirror: () => keep({ mirror: !mirrored() }),
  pause,
  snapshot,
  table: () => {
    if (!table.length) return toast("The table is empty: no picture was analyzed yet");
    save(table.csv(), `mien-${stamp()}.csv`);
    toast(`Table saved: ${table.length.toLocaleString("en")} rows`);
  },
  theme: () => {
    const dark = getComputedStyle(document.body).colorScheme === "dark" || (!settings.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    keep({ theme: dark ? "light" : "dark" });
  },
  help: () => ($("help-dialog").open ? $("help-dialog").close() : $("help-dialog").showModal()),
  next: () => faces.next(),
};

function leave() {
  source.stop();
  home("", "What does your face show?", "The camera is off.");
}

function pause() {
  if (source.kind !== "camera" && source.kind !== "video") return;
  if (source.video.paused) source.video.play();
  else source.video.pause();
  pressed("pause", source.video.paused);
  $("paused").hidden = !source.video.paused;
  sendStill(); // so that the boxes belong to the picture that stands
}

function snapshot() {
  if (!source.kind || (settings.mode === "blur" && !last?.about.all)) return toast("There is no picture yet");
  const { width, height } = source.size;
  const canvas = document.createElement("canvas");
  const times = Math.max(1, 960 / Math.max(width, height));
  Object.assign(canvas, { width: Math.round(width * times), height: Math.round(height * times) });
  const pen = canvas.getContext("2d");
  pen.save();
  if (mirrored()) pen.setTransform(-1, 0, 0, 1, canvas.width, 0);
  const picture = settings.mode === "blur" ? $("still") : source.kind === "image" ? source.still : source.video;
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  pen.restore();
  const zoom = Math.max(0.8, Math.max(canvas.width, canvas.height) / 960);
  pen.scale(zoom, zoom);
  painter.draw(pen, view(canvas.width / zoom, canvas.height / zoom), performance.now() + 1e4);
  canvas.toBlob((blob) => {
    save(blob, `mien-${stamp()}.png`);
    toast("Snapshot saved");
  }, "image/png");
  $("flash").classList.remove("now");
  requestAnimationFrame(() => $("flash").classList.add("now"));
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function stamp() {
  const now = new Date(Date.now() - 60000 * new Date().getTimezoneOffset());
  return now.toISOString().slice(0, 19).replaceAll(":", "").replace("T", "-");
}

function toast(text, ms = 3600) {
  const line = Object.assign(document.createElement("p"), { textContent: text });
  if (ms > 3600) line.className = "lasting";
  $("toasts").append(line);
  setTimeout(() => line.remove(), ms);
}

for (const id of ["camera", "open", "largest", "landmarks", "mirror", "pause", "snapshot", "table", "theme", "help"]) {
  $(id).addEventListener("click", actions[id]);
}
if (config.collect) {
  const teacher = new Teacher({
    collect: config.collect,
    source,
    parts: {
      prompt: $("prompt"), face: $("prompt-face"), word: $("prompt-word"), step: $("prompt-step"), stop: $("prompt-stop"),
      dialog: $("teach-dialog"), shots: $("shots"), text: $("teach-text"), save: $("teach-save"),
    },
    seen: () => connection.state === "open" && last?.about.source === source.name && last.result.faces.length > 0 && performance.now() - lastFace < SEEN,
    headers: () => (connection.key ? { Authorization: `Bearer ${connection.key}` } : {}),
    say: toast,
  });
  $("teach").hidden = false;
  $("teach").addEventListener("click", () => teacher.start());
}
$("start-camera").addEventListener("click", () => useCamera());
$("start-file").addEventListener("click", actions.open);
$("cameras").addEventListener("change", (event) => useCamera(event.target.value));
$("file").addEventListener("change", (event) => {
  useFile(event.target.files[0]);
  event.target.value = "";
});
for (const input of document.getElementsByName("mode")) input.addEventListener("change", () => keep({ mode: input.value }));
$("use-keys").addEventListener("change", (event) => keep({ keys: event.target.checked }));
$("clear").addEventListener("click", () => {
  table.clear();
  toast("The table is empty now");
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  connection.key = $("key").value.trim();
  connection.open();
});

const keys = { c: "camera", o: "open", f: "largest", l: "landmarks", m: "mirror", " ": "pause", s: "snapshot", t: "table", d: "theme", "?": "help", n: "next" };
document.addEventListener("keydown", (event) => {
  if (!settings.keys || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.matches("input:not([type=radio], [type=checkbox]), select, textarea")) return;
  if (($("help-dialog").open && event.key !== "?") || $("teach-dialog").open) return;
  if (event.key === " " && event.target.matches("button, summary, input")) return; // it presses what has the focus
  const mode = MODES[Number(event.key) - 1];
  if (mode) keep({ mode });
  else if (keys[event.key.toLowerCase()]) actions[keys[event.key.toLowerCase()]]();
  else return;
  event.preventDefault();
});

let within = 0; // drags enter and leave every element
addEventListener("dragenter", (event) => {
  if (![...event.dataTransfer.types].includes("Files")) return;
  within++;
  document.body.classList.add("dropping");
});
addEventListener("dragleave", () => (within = Math.max(0, within - 1)) || document.body.classList.remove("dropping"));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  within = 0;
  document.body.classList.remove("dropping");
  useFile(event.dataTransfer.files[0]);
});

// ---- Start

function stored() {
  try {
    return JSON.parse(localStorage.getItem("mien")) ?? {};
  } catch {
    return {};
  }
}

// What this tab remembers.
function session(name, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(name);
    sessionStorage.setItem(name, value);
  } catch {
    return null;
  }
}

for (const name of config.emotions) $("parade").append(emojis.get(name).cloneNode());
const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const but = config.collect ? ", but for those that you save with Teach" : "";
$("privacy").textContent = config.browser ? "Images stay in this browser: nothing is sent." : local ? `Images go only to mien on this computer, and are not stored${but}.` : `Pictures go only to mien on ${location.hostname}, and are not stored${but}.`;
if (fragment.has("key")) history.replaceState(null, "", location.pathname);
apply();
connection.open();
navigator.permissions?.query({ name: "camera" }).then(
  (permission) => permission.state === "granted" && !source.kind && useCamera(),
  () => {}, // a browser that does not tell: the button remains
);
