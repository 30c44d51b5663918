// Images as arrays, and the resizes and the warp of mien.opencv: an image is {width, height, depth, data}, data
// (height, width, depth) of bytes. Pixel i covers [i, i + 1), its centre is at i + 0.5.

const CUBIC = -0.75; // the free parameter of the cubic interpolation, as in OpenCV
const OVERSAMPLING = 2; // a crop is drawn at this many times its size and then averaged down

// Rounds as Python does: halves to the even neighbour.
export function rint(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// RGB from the RGBA of a canvas.
export function fromCanvas({ width, height, data }) {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = data[from];
    rgb[to + 1] = data[from + 1];
    rgb[to + 2] = data[from + 2];
  }
  return { width, height, depth: 3, data: rgb };
}

// A rectangle of an image, as grey levels (ITU-R BT.601) if asked.
export function part(image, left, top, right, bottom, grey = false) {
  const width = right - left;
  const height = bottom - top;
  const depth = grey ? 1 : image.depth;
  const data = new Uint8Array(width * height * depth);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * image.width + left) * image.depth;
    if (!grey || image.depth === 1) {
      data.set(image.data.subarray(start, start + width * image.depth), y * width * depth);
      continue;
    }
    for (let x = 0, from = start; x < width; x++, from += 3) {
      data[y * width + x] = (image.data[from] * 4899 + image.data[from + 1] * 9617 + image.data[from + 2] * 1868 + 8192) >> 14;
    }
  }
  return { width, height, depth, data };
}

// For each new pixel of a row, the old ones that it is made of and their shares.
const taps = {
  area(from, to) {
    const scale = from / to;
    return Array.from({ length: to }, (_, at) => {
      const start = at * scale;
      const end = Math.min(start + scale, from);
      const places = [];
      const shares = [];
      for (let place = Math.floor(start); place < end; place++) {
        const share = Math.min(end, place + 1) - Math.max(start, place);
        if (share < 1e-6) continue;
        places.push(place);
        shares.push(share / (end - start));
      }
      return { places, shares };
    });
  },
  linear(from, to) {
    return Array.from({ length: to }, (_, at) => {
      const middle = ((at + 0.5) * from) / to - 0.5;
      const first = Math.floor(middle);
      const share = middle - first;
      return { places: [clamp(first, 0, from - 1), clamp(first + 1, 0, from - 1)], shares: [1 - share, share] };
    });
  },
  cubic(from, to) {
    return Array.from({ length: to }, (_, at) => {
      const middle = ((at + 0.5) * from) / to - 0.5;
      const first = Math.floor(middle);
      return { places: [-1, 0, 1, 2].map((step) => clamp(first + step, 0, from - 1)), shares: cubic(middle - first) };
    });
  },
};

// The shares of four neighbours around a point that lies `t` behind the second one.
function cubic(t) {
  const near = (d) => ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1;
  const far = (d) => ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC;
  return [far(1 + t), near(t), near(1 - t), far(2 - t)];
}

// An image of another size. kind: area, linear or cubic.
export function sized(image, width, height, kind) {
  const { depth } = image;
  const across = taps[kind](image.width, width);
  const down = taps[kind](image.height, height);
  const rows = new Float32Array(image.height * width * depth);
  for (let y = 0; y < image.height; y++) {
    const start = y * image.width * depth;
    let to = y * width * depth;
    for (const { places, shares } of across) {
      for (let channel = 0; channel < depth; channel++, to++) {
        let sum = 0;
        for (let tap = 0; tap < places.length; tap++) sum += image.data[start + places[tap] * depth + channel] * shares[tap];
        rows[to] = sum;
      }
    }
  }
  const data = new Uint8ClampedArray(width * height * depth); // rounds and limits
  const line = width * depth;
  for (let y = 0; y < height; y++) {
    const { places, shares } = down[y];
    for (let x = 0; x < line; x++) {
      let sum = 0;
      for (let tap = 0; tap < places.length; tap++) sum += rows[places[tap] * line + x] * shares[tap];
      data[y * line + x] = sum;
    }
  }
  return { width, height, depth, data: new Uint8Array(data.buffer) };
}

// mien.opencv.resized: the image at `scale` times its size, and the exact factors of x and y.
export function resized(image, scale) {
  const width = Math.max(1, rint(image.width * scale));
  const height = Math.max(1, rint(image.height * scale));
  if (width === image.width && height === image.height) return [image, 1, 1];
  return [sized(image, width, height, scale < 1 ? "area" : "cubic"), width / image.width, height / image.height];
}

// mien.opencv.shrunk: the same, quicker for strong reductions.
export function shrunk(image, scale) {
  if (scale >= 0.5) return resized(image, scale);
  const width = Math.max(1, rint(image.width * scale));
  const height = Math.max(1, rint(image.height * scale));
  const twice = sized(image, 2 * width, 2 * height, "linear");
  return [sized(twice, width, height, "area"), width / image.width, height / image.height];
}

// The similarity that maps points to others with the least squared error (Umeyama 1991), as [a, b, x, y]: a point
// (u, v) goes to (a u - b v + x, b u + a v + y).
export function similarity(source, target) {
  const mean = (points, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [sx, sy, tx, ty] = [mean(source, 0), mean(source, 1), mean(target, 0), mean(target, 1)];
  let [along, turned, spread] = [0, 0, 0];
  source.forEach(([u, v], at) => {
    const [p, q] = [u - sx, v - sy];
    const [r, s] = [target[at][0] - tx, target[at][1] - ty];
    along += p * r + q * s;
    turned += p * s - q * r;
    spread += p * p + q * q;
  });
  const [a, b] = [along / spread, turned / spread];
  return [a, b, tx - (a * sx - b * sy), ty - (b * sx + a * sy)];
}

// mien.faces.crop.crop_face in grey levels: the face whose five points land on those of the spec {size, places}.
export function cropFace(image, points, spec) {
  const size = spec.size * OVERSAMPLING;
  const [a, b, x, y] = similarity(points, spec.places).map((value) => value * OVERSAMPLING);
  const scale = Math.hypot(a, b);
  const corners = [[0, 0], [size, 0], [0, size], [size, size]].map(([right, down]) => {
    const [u, v] = [right - x, down - y];
    return [(a * u + b * v) / scale ** 2, (a * v - b * u) / scale ** 2];
  });
  const margin = 2 + 2 / scale;
  const range = (axis, limit) => {
    const values = corners.map((corner) => corner[axis]);
    const first = clamp(Math.floor(Math.min(...values) - margin), 0, limit - 1);
    return [first, Math.min(Math.max(Math.ceil(Math.max(...values) + margin), first + 1), limit)];
  };
  const [left, right] = range(0, image.width);
  const [top, bottom] = range(1, image.height);
  const [region, fx, fy] = resized(part(image, left, top, right, bottom, true), Math.min(1, scale));
  const matrix = [a / fx, -b / fy, x + a * left - b * top, b / fx, a / fy, y + b * left + a * top];
  for (const row of [0, 3]) matrix[row + 2] += (matrix[row] + matrix[row + 1]) / 2 - 0.5; // from the first pixel's centre
  return sized(warped(region, matrix, size), spec.size, spec.size, "area");
}

// A square of `size` pixels that an affine map cuts out of a grey image, with cubic interpolation; outside the image its
// outermost pixels are repeated.
function warped(image, [a, b, x, c, d, y], size) {
  const { width, height, data } = image;
  const area = a * d - b * c;
  const out = new Uint8ClampedArray(size * size);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const [u, v] = [column - x, row - y];
      const across = (d * u - b * v) / area;
      const down = (a * v - c * u) / area;
      const [left, top] = [Math.floor(across), Math.floor(down)];
      const [horizontal, vertical] = [cubic(across - left), cubic(down - top)];
      let sum = 0;
      for (let i = 0; i < 4; i++) {
        const start = clamp(top - 1 + i, 0, height - 1) * width;
        let line = 0;
        for (let j = 0; j < 4; j++) line += horizontal[j] * data[start + clamp(left - 1 + j, 0, width - 1)];
        sum += vertical[i] * line;
      }
      out[row * size + column] = sum;
    }
  }
  return { width: size, height: size, depth: 1, data: new Uint8Array(out.buffer) };
}
