// The table of all faces so far, with the columns of mien's tables; config.json describes them.

const POSE = ["yaw", "pitch", "roll"];
const MOST = 1_000_000; // rows that are kept

export class Table {
  #parts = []; // [cells before the keypoints, the keypoints' cells or "", cells after them]
  #last = 0; // where the rows of the last result begin
  full = false;

  // columns: {before, keypoints, after}: lists of {name, type, decimals, pixels}
  constructor(columns) {
    this.columns = columns;
  }

  get length() {
    return this.#parts.length;
  }

  clear() {
    this.#parts = [];
    this.#last = 0;
    this.full = false;
  }

  // Adds the rows of a result; scale is that of the analyzed frame to the source's own pixels. A result of the same
  // image with other settings replaces the last one.
  add(result, scale, again = false) {
    if (again) this.#parts.length = this.#last;
    this.#last = this.#parts.length;
    const faces = result.faces.length ? result.faces : [null];
    for (const [number, face] of faces.entries()) {
      if (this.#parts.length >= MOST) {
        this.full = true;
        return;
      }
      const cells = cellsOf(result, face, number);
      const line = (columns) => columns.map((column) => written(cells.get(column.name), column, scale)).join(",");
      const { before, keypoints, after } = this.columns;
      this.#parts.push([line(before), face?.keypoints ? line(keypoints) : "", line(after)]);
    }
  }

  csv() {
    const { before, keypoints, after } = this.columns;
    const wide = this.#parts.some((parts) => parts[1]);
    const empty = ",".repeat(keypoints.length - 1);
    const head = [...before, ...(wide ? keypoints : []), ...after].map((column) => column.name).join(",");
    const lines = this.#parts.map(([left, middle, right]) => (wide ? `${left},${middle || empty},${right}\n` : `${left},${right}\n`));
    return new Blob([`${head}\n`, ...lines], { type: "text/csv" });
  }
}

function cellsOf(result, face, number) {
  const cells = new Map(Object.entries({ source: result.source, frame: result.frame, timestamp: result.timestamp, error: result.error, note: result.note }));
  if (!face) return cells;
  const put = (names, values) => names.forEach((name, at) => cells.set(name, values[at]));
  put(["track", "face", "score", "emotion", "confidence", "uncertain"], [face.track, number, face.score, face.emotion, face.confidence, face.uncertain]);
  put(["x0", "y0", "x1", "y1"], face.box);
  for (const [name, point] of Object.entries(face.landmarks ?? {})) put([`${name}_x`, `${name}_y`], point);
  for (const part of [face.emotions, face.affect]) for (const [name, value] of Object.entries(part ?? {})) cells.set(name, value);
  for (const part of [face.smoothed, face.smoothed_affect]) for (const [name, value] of Object.entries(part ?? {})) cells.set(`smoothed_${name}`, value);
  if (face.keypoints) {
    cells.set("keypoint_scheme", face.keypoint_scheme);
    for (const [at, point] of face.keypoints.entries()) put([`x_${at}`, `y_${at}`], point);
    if (face.pose) put(POSE, POSE.map((name) => face.pose[name]));
    for (const [name, value] of Object.entries(face.measures ?? {})) cells.set(name, value);
  }
  return cells;
}

function written(value, column, scale) {
  if (value === null || value === undefined) return "";
  if (column.type === "number") return String(Number((column.pixels ? value * scale : value).toFixed(column.decimals)) + 0);
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
