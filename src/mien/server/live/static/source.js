// Where pictures come from: the camera, a video file or an image file. Frames are taken as small JPEG files.

const LONGEST = 640; // pixels of the longer side of a frame that is sent
const LONGEST_IMAGE = 2560; // the same of an image that is not sent as its own file
const QUALITY = 0.85;
const AS_THEY_ARE = new Set(["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif"]);

// What went wrong, in words: a title, and what to do.
export class SourceError extends Error {
  constructor(kind, title, text) {
    super(title);
    Object.assign(this, { kind, title, text });
  }
}

function cameraError(error) {
  const known = {
    NotAllowedError: ["refused", "The camera is blocked", "Allow the camera for this page in the browser’s address bar, then try again. You can also open a photo or a video."],
    NotFoundError: ["none", "No camera was found", "Connect a camera and try again, or open a photo or a video."],
    NotReadableError: ["taken", "The camera is in use", "Another program uses the camera. Close that program and try again."],
  };
  const [kind, title, text] = known[error.name] ?? ["failed", "The camera cannot be used", `${error.name}: ${error.message}`];
  return new SourceError(kind, title, text);
}

export class Source extends EventTarget {
  kind = null; // "camera", "video" or "image"
  name = "";
  mirrored = false;
  #stream = null;
  #url = null;
  #file = null;
  #began = 0;
  #spare = []; // canvases to use again
  #generation = 0;
  #asked = 0; // counts what was asked for: a camera may be allowed after something else was chosen

  // still: a canvas for images; mostBytes: of a file that is sent as it is.
  constructor(video, still, mostBytes) {
    super();
    Object.assign(this, { video, still, mostBytes });
    video.addEventListener("resize", () => this.dispatchEvent(new CustomEvent("turned"))); // a phone was turned
  }

  get size() {
    return this.kind === "image"
      ? { width: this.still.width, height: this.still.height }
      : { width: this.video.videoWidth, height: this.video.videoHeight };
  }

  get playing() {
    return (this.kind === "camera" || this.kind === "video") && !this.video.paused;
  }

  // Shows a camera; gives its number, or null if another source was chosen before it was allowed.
  async camera(id) {
    const asked = ++this.#asked;
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new SourceError("insecure", "The camera needs a secure page", "Browsers give the camera only to this computer’s own address or over HTTPS: start mien live with --certfile and --keyfile.");
    }
    const wish = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...wish, ...(id ? { deviceId: { exact: id } } : { facingMode: "user" }) } });
    } catch (error) {
      if (asked !== this.#asked) return null;
      throw cameraError(error);
    }
    if (asked !== this.#asked) {
      for (const track of stream.getTracks()) track.stop();
      return null;
    }
    this.#end();
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => this.#stream === stream && this.dispatchEvent(new CustomEvent("ended")));
    this.#stream = stream;
    this.#began = performance.now();
    this.video.srcObject = stream;
    try {
      await this.#start("camera", "camera", track.getSettings().facingMode !== "environment");
    } catch (error) {
      if (asked !== this.#asked) return null;
      this.stop();
      throw cameraError(error);
    }
    return track.getSettings().deviceId;
  }

  async cameras() {
    const devices = (await navigator.mediaDevices?.enumerateDevices?.()) ?? [];
    return devices.filter((device) => device.kind === "videoinput");
  }

  async file(file) {
    const asked = ++this.#asked;
    const unreadable = new SourceError("file", "This file cannot be shown", `“${file.name}” is not an image or a video that this browser reads.`);
    if (file.type.startsWith("video/")) {
      this.#end();
      this.#url = URL.createObjectURL(file);
      this.video.src = this.#url;
      try {
        await this.#start("video", file.name, false);
      } catch {
        if (asked !== this.#asked) return;
        this.stop();
        throw unreadable;
      }
      return;
    }
    let bitmap;
    try {
      bitmap = await createImageBitmap(file); // with the EXIF orientation
    } catch {
      if (asked !== this.#asked) return;
      throw unreadable;
    }
    if (asked !== this.#asked) return bitmap.close();
    this.#end();
    Object.assign(this.still, { width: bitmap.width, height: bitmap.height });
    this.still.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.#file = file;
    this.#become("image", file.name, false);
  }

  // Ends what is shown, and what was asked for and has not come.
  stop() {
    this.#asked++;
    this.#end();
  }

  #end() {
    this.#generation++;
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.#file = null;
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
    this.kind = null;
  }

  // A frame of what is seen now: {canvas, scale, seconds, captured, still, file()}; the canvas holds the sent pixels.
  take(now, metadata) {
    const still = this.kind === "image";
    const { width, height } = this.size;
    const scale = Math.min(1, (still ? LONGEST_IMAGE : LONGEST) / Math.max(width, height));
    const whole = still && AS_THEY_ARE.has(this.#file.type) && this.#file.size <= this.mostBytes;
    const canvas = still ? this.still : this.#canvas(Math.round(width * scale), Math.round(height * scale));
    if (!still) canvas.getContext("2d", { willReadFrequently: true, alpha: false }).drawImage(this.video, 0, 0, canvas.width, canvas.height);
    return {
      canvas,
      scale: whole ? 1 : scale,
      still,
      captured: metadata?.captureTime ?? now,
      seconds: this.kind === "video" ? (metadata?.mediaTime ?? this.video.currentTime) : (now - this.#began) / 1000,
      file: async () => {
        if (whole) return this.#file.arrayBuffer();
        const small = still ? this.#canvas(Math.round(width * scale), Math.round(height * scale)) : canvas;
        if (still) small.getContext("2d").drawImage(this.still, 0, 0, small.width, small.height);
        const blob = await new Promise((resolve) => small.toBlob(resolve, "image/jpeg", still ? 0.95 : QUALITY));
        return blob.arrayBuffer();
      },
    };
  }

  // Takes back the canvas of a frame that is not shown any more.
  recycle(canvas) {
    if (canvas && canvas !== this.still && this.#spare.length < 4) this.#spare.push(canvas);
  }

  #canvas(width, height) {
    const canvas = this.#spare.pop() ?? document.createElement("canvas");
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    return canvas;
  }

  async #start(kind, name, mirrored) {
    const generation = this.#generation;
    await this.video.play();
    if (generation !== this.#generation) return;
    this.#become(kind, name, mirrored);
    const tick = (now, metadata) => {
      if (generation !== this.#generation) return;
      this.dispatchEvent(new CustomEvent("frame", { detail: { now, metadata } }));
      next();
    };
    const next = () =>
      this.video.requestVideoFrameCallback
        ? this.video.requestVideoFrameCallback(tick)
        : requestAnimationFrame((now) => (this.video.paused ? next() : tick(now)));
    next();
  }

  #become(kind, name, mirrored) {
    Object.assign(this, { kind, name, mirrored });
    this.dispatchEvent(new CustomEvent("change"));
  }
}
