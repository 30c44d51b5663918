"""Video analysis on one core: `python -m benchmarks.video [FER_PYTHON] [--memory]`.

FER_PYTHON is the Python of an environment with the package `fer` for comparison:

    python -m venv fer && fer/bin/pip install fer==25.10.3 'setuptools<81'

Everything is pinned to one core. The clip is 640x480 in H.264 with one face, a portrait that moves; the crowd has
20 copies of it. Both packages write a table of the same clip: mien with the default settings of `mien analyze`, `fer`
in its Haar mode without drawing. Times are those of the processor, all threads together: on one core that is the time
on a quiet machine, whatever else runs. mien is measured before and after the rival. `--memory` measures the memory of a
long video instead, which takes minutes.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Final

if hasattr(os, "sched_setaffinity"):  # before the libraries count the cores
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from benchmarks.results import Measurement, Results, markdown, save
from mien.analyzer import Analyzer, detect
from mien.cli import build_app
from mien.faces.align import Aligner, Crops
from mien.media import VideoOptions, read_video
from mien.results import Frame

ROOT: Final = Path(__file__).parent.parent
PORTRAIT: Final = ROOT / "examples" / "astronaut.jpg"
SIZE: Final = (640, 480)
FRAMES: Final = 750
CROWD_FRAMES: Final = 100
SMALL: Final = "mien-s"

FER: Final = """
import json, sys, time, os, logging
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow
tensorflow.config.threading.set_intra_op_parallelism_threads(1)
tensorflow.config.threading.set_inter_op_parallelism_threads(1)
from fer.fer import FER
from fer.classes import Video
detector = FER(mtcnn=False)
def run(path):
    start = time.process_time()
    found = Video(path, outdir=sys.argv[3]).analyze(
        detector, output="csv", save_frames=False, save_video=False, annotate_frames=False, zip_images=False)
    return time.process_time() - start, len(found)
run(sys.argv[2])  # warm
seconds, frames = run(sys.argv[1])
print(json.dumps({"seconds": seconds, "rows": frames}))
"""


def faces(count: int, frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames (480, 640, 3) of so many copies of the portrait that sway to and fro."""
    x0, y0, x1, y1 = detect(PORTRAIT)[0].box.tolist()
    around = 0.5 * (x1 - x0)
    head = Image.open(PORTRAIT).convert("RGB").crop((x0 - around, y0 - around, x1 + around, y1 + around))
    columns = 1 if count == 1 else 5
    side = 200 if count == 1 else 112
    head = head.resize((side, side * head.height // head.width))
    for number in range(frames):
        image = Image.new("RGB", SIZE, (90, 100, 110))
        for each in range(count):
            row, column = divmod(each, columns)
            sway = round(10 * np.sin(2 * np.pi * (number / 50 + each / 7)))
            image.paste(
                head, (220 * (count == 1) + column * 126 + sway + 8, 120 * (count == 1) + row * 118 + sway // 4)
            )
        yield np.asarray(image)


def encode(path: Path, images: Iterator[NDArray[np.uint8]], times: Callable[[int], Fraction] | None = None) -> Path:
    """An H.264 video at 25 frames a second, or with these presentation times."""
    base = Fraction(1, 1000) if times else Fraction(1, 25)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.codec_context.time_base = base
        for number, image in enumerate(images):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(times(number) / base) if times else number, base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds of the processor that a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def command(path: Path, table: Path, *options: str) -> Callable[[], None]:
    """`mien analyze` with default settings but for the options, a table and nothing printed."""

    def called() -> None:
        words = ["analyze", str(path), "--table", str(table), "--quiet", *options]
        result = CliRunner().invoke(build_app("analyze"), words)
        if result.exit_code:
            raise RuntimeError(f"{result.output}{result.exception!r}")

    return called


def parts_of(clip: Path, detections: int, frames: int) -> dict[str, float]:
    """Milliseconds per frame of each part alone; the detector's by its interval."""
    decoded: list[Frame] = []
    decoding = seconds_of(lambda: sum(1 for _ in _alone(clip)))
    decoded = list(islice(_alone(clip), 64))
    analyzer = Analyzer()
    aligner = analyzer._aligner
    found = [aligner.refined(frame.image, aligner.find(frame.image)) for frame in decoded]
    detecting = seconds_of(lambda: [aligner.refined(frame.image, aligner.find(frame.image)) for frame in decoded])
    size, classifier = analyzer.options.classifier.batch_size, analyzer.video_classifier

    def cropped() -> list[Crops]:
        pairs = zip(decoded, found, strict=True)
        return [aligner.crop(frame.image, each, classifier.crop_specs) for frame, each in pairs]

    crops, cropping = cropped(), seconds_of(cropped)
    flat = [[crop for each in crops for crop in each[kind]] for kind in range(len(crops[0]))]
    batches = [[kind[start : start + size] for kind in flat] for start in range(0, len(flat[0]), size)]
    for batch in batches[:1]:
        classifier(*batch)
    classifying = seconds_of(lambda: [classifier(*batch) for batch in batches])
    scale = 1000 / len(decoded)
    return {
        "decoding to RGB": 1000 * decoding / frames,
        "detection, by its interval": scale * detecting * detections / frames,
        "alignment": scale * cropping,
        "classification in batches": scale * classifying,
    }


def _alone(clip: Path) -> Iterator[Frame]:
    """The frames of a clip, decoded by this thread: a new container each time, one converter."""
    from mien.containers import open_file
    from mien.media.container import RgbConverter

    rgb = RgbConverter()
    with open_file(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            yield Frame(rgb(frame), str(clip), number)


def clips(folder: Path) -> tuple[Path, Path, Path, Path]:
    """One face, a crowd, one face for warming up, and one face at a variable frame rate; made unless they are there."""

    def made(name: str, count: int, frames: int, times: Callable[[int], Fraction] | None = None) -> Path:
        path = folder / name
        return path if path.exists() else encode(path, faces(count, frames), times)

    return (
        made("clip.mp4", 1, FRAMES),
        made("crowd.mp4", 20, CROWD_FRAMES),
        made("short.mp4", 1, 8),
        made("uneven.mp4", 1, 60, lambda number: Fraction(number * 40 + number**2 % 23, 1000)),
    )


def one_core(folder: Path, fer: str | None) -> tuple[dict[str, Measurement], dict[str, float]]:
    """The figures, in milliseconds per frame, and the ratios."""
    clip, crowd, short, uneven = clips(folder)
    table = folder / "out.csv"
    command(short, table)()
    whole, parts, crowded, small, runs = [], [], [], [], 0

    def measured() -> None:
        nonlocal runs
        with _counting() as counted:
            whole.append(1000 * seconds_of(command(clip, table)) / FRAMES)
        runs = len(counted)
        parts.append(parts_of(clip, runs, FRAMES))
        crowded.append(1000 * seconds_of(command(crowd, table)) / CROWD_FRAMES)
        small.append(1000 * seconds_of(command(clip, table, "--model", SMALL)) / FRAMES)

    measured()
    other = _rival(fer, clip, short, folder) if fer else None
    measured()
    times = [frame.timestamp for frame in read_video(uneven)]
    with av.open(str(uneven)) as file:
        packets = sorted(float(p.pts * p.time_base) for p in file.demux(video=0) if p.pts is not None)
    if times != packets:
        raise RuntimeError(f"times of frames differ from those of the container: {times} {packets}")
    figures = {"mien analyze, per frame": Measurement.of(whole)}
    figures |= {f"its part alone: {name}": Measurement.of([each[name] for each in parts]) for name in parts[0]}
    figures["mien analyze, 20 faces, per frame"] = Measurement.of(crowded)
    figures[f"mien analyze --model {SMALL}, per frame"] = Measurement.of(small)
    sums = [total / sum(each.values()) for total, each in zip(whole, parts, strict=True)]
    ratios = {"mien analyze / the sum of its parts": Measurement.of(sums).median}
    ratios["frames / runs of the detector"] = FRAMES / runs
    if other is not None:
        figures["fer, Haar, per frame"] = Measurement.of([other])
        ratios["fer / mien analyze"] = other / figures["mien analyze, per frame"].median
        ratios[f"fer / mien analyze --model {SMALL}"] = other / Measurement.of(small).median
    return figures, ratios


@contextmanager
def _counting() -> Iterator[list[None]]:
    """A list that grows by one whenever a detector runs on a frame."""
    counted: list[None] = []
    find = Aligner.find

    def found(self: Aligner, *arguments: Any, **options: Any) -> Any:
        counted.append(None)
        return find(self, *arguments, **options)

    Aligner.find = found  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        Aligner.find = find  # type: ignore[method-assign]


def _rival(python: str, clip: Path, short: Path, folder: Path) -> float:
    """Milliseconds per frame of `fer`."""
    arguments = [python, "-c", FER, str(clip), str(short), str(folder)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return 1000 * float(json.loads(done.stdout.splitlines()[-1])["seconds"]) / FRAMES


def resident() -> float:
    """Megabytes of memory that the process holds."""
    text = Path("/proc/self/status").read_text()
    return int(text[text.index("VmRSS:") :].split()[1]) / 1024


def repeated(source: Path, target: Path, times: int) -> Path:
    """A video again and again in one file, without encoding it anew."""
    with av.open(str(target), "w") as file:
        stream: Any = None
        for number in range(times):
            with av.open(str(source)) as part:
                pictures: Any = part.streams.video[0]
                stream = stream or file.add_stream_from_template(pictures)
                for packet in part.demux(pictures):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts += number * pictures.duration
                        packet.dts += number * pictures.duration
                        packet.stream = stream
                        file.mux(packet)
    return target


def memory(folder: Path) -> dict[str, Measurement]:
    """Megabytes after some frames of one video."""
    small = (np.asarray(Image.fromarray(image).resize((320, 240))) for image in faces(1, FRAMES))
    clip = repeated(encode(folder / "part.mp4", small), folder / "long.mp4", -(-20_000 // FRAMES))
    found = {}
    for number, _ in enumerate(Analyzer().analyze(clip, video=VideoOptions()), 1):
        if number in (1_000, 5_000, 10_000, 20_000):
            found[f"after {number:,} frames"] = Measurement.of([resident()])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fer", nargs="?", help="Python of an environment with fer 25.10.3")
    parser.add_argument("--clips", type=Path, help="folder for the clips, which are used again")
    parser.add_argument("--memory", action="store_true", help="memory of a long video instead")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if chosen.memory:
            results = Results.here("video_memory", "MB", memory(Path(name)), packages=["av"])
        else:
            figures, ratios = one_core(chosen.clips or Path(name), chosen.fer)
            results = Results.here("video", "ms of the processor", figures, ratios=ratios, packages=["av"])
    print(markdown(results))
    save(results)


if __name__ == "__main__":
    main()
