"""What a file or a folder is, for messages: someone who swaps two arguments learns what each of them was.

`recognise` looks at the first bytes, then at the suffix; it loads nothing. `wrong_model` and the other functions make
the error for each place in which another file is expected.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mien.errors import ConfigError, DataError, WeightsError

CHECKPOINTS: Final = ("best", "last", "interrupted")  # of a run's folder, each with the suffix .ckpt
_RECIPE: Final = "recipe.toml"
_HEAD: Final = 1 << 16  # bytes that are read
_STORE: Final = b"mien-store"  # in the attributes of a store, which lie at its beginning

# First bytes, and what begins with them.
_MAGIC: Final = {
    b"\x89HDF": "hdf5",
    b"\x89PNG": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"%PDF": "PDF document",
    **{b"\x80" + bytes([protocol]): "pickle" for protocol in range(2, 6)},
    b"\x1f\x8b": "archive",
    b"PK\x03\x04": "archive",
}
# What else may be packed in these forms; the suffix tells.
_CONTAINERS: Final = {
    "archive": ("checkpoint", "PyTorch file", "Keras model"),
    "pickle": ("checkpoint", "PyTorch file"),
}
_SUFFIXES: Final = {
    "onnx": "onnx",
    "ckpt": "checkpoint",
    "pt": "PyTorch file",
    "pth": "PyTorch file",
    "keras": "Keras model",
    "h5": "Keras model",
    "hdf5": "Keras model",
    "tflite": "TensorFlow Lite model",
    "pb": "TensorFlow graph",
    "caffemodel": "Caffe model",
    "mlmodel": "Core ML model",
    "engine": "TensorRT engine",
    "pkl": "pickle",
    "pickle": "pickle",
    "joblib": "pickle",
    "safetensors": "safetensors",
    "csv": "csv",
    "tsv": "csv",
    "toml": "toml",
    "json": "JSON file",
    "jsonl": "table",
    "parquet": "table",
    "zip": "archive",
    "tar": "archive",
    "gz": "archive",
    "tgz": "archive",
    **dict.fromkeys(("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif", "avif"), "image"),
}
_WORDS: Final = {
    "run": "the folder of a training run",
    "checkpoint": "a checkpoint of a training run",
    "store": "a store (from `mien data build`)",
    "onnx": "an ONNX model",
    "hdf5": "a Keras model or another HDF5 file",
    "safetensors": "the training form of a model (.safetensors)",
    "csv": "a CSV file",
    "toml": "a TOML file",
    "image": "an image",
    "archive": "a packed archive",
    "pickle": "a pickle file, which may run any code",
    "table": "a table",
}
# Models of other programs.
_FOREIGN: Final = {
    "hdf5", "pickle", "PyTorch file", "Keras model", "TensorFlow Lite model", "TensorFlow graph", "Caffe model",
    "Core ML model", "TensorRT engine",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a path is.

    Attributes:
        path: The path.
        kind: One of the keys of `_WORDS`, or words; empty if it is not known, or there is nothing.
    """

    path: Path
    kind: str

    def __str__(self) -> str:
        return _WORDS.get(self.kind, f"a {self.kind}")

    @property
    def run(self) -> Path | None:
        """The folder of the run that this is, or is a checkpoint of."""
        folder = self.path.parent if self.kind == "checkpoint" else self.path
        return folder if self.kind in ("run", "checkpoint") and (folder / _RECIPE).is_file() else None


def recognise(path: str | Path) -> Found:
    """What a path is, by its first bytes and its suffix; never an error."""
    path = Path(path)
    try:
        return Found(path, _kind(path))
    except (OSError, ValueError):  # no permission; a zero byte in the name
        return Found(path, "")


def _kind(path: Path) -> str:
    if path.is_dir():
        return "run" if (path / _RECIPE).is_file() or (path / "best.ckpt").is_file() else "folder"
    if not path.is_file():
        return ""
    named = _SUFFIXES.get(path.suffix.lower().removeprefix("."), "")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    magic = next((kind for start, kind in _MAGIC.items() if head.startswith(start)), "")
    if magic == "hdf5":
        magic = "store" if _STORE in head else "hdf5"
    elif named == "safetensors" and head[8:9] == b"{":  # its first bytes are a length, and may look like anything
        magic = named
    elif head[4:8] == b"TFL3":
        magic = "TensorFlow Lite model"
    elif head[:1] == b"\x08" and named in ("", "TensorFlow graph"):  # how ONNX files begin, under any name
        magic, named = "", ""
    elif magic in _CONTAINERS and named in _CONTAINERS[magic]:
        magic = named
    return magic or named


def is_path(name: str) -> bool:
    """Whether the name of a model looks like a path, whether or not it exists."""
    path = Path(name)
    return len(path.parts) > 1 or path.suffix.lower().removeprefix(".") in _SUFFIXES


def wrong_model(path: Path) -> WeightsError | None:
    """The error if a path given as a model is something else; None if it may be an ONNX file, or is not there."""
    found = recognise(path)
    if found.kind in ("", "onnx"):
        return None
    message, hint = f"{path}: is {found}, expected an exported .onnx file", "make a model with `mien export`"
    if found.kind in ("run", "checkpoint"):
        hint = export_command(found)
    elif found.kind == "safetensors":
        beside = path.with_suffix(".onnx")
        hint = f"give {beside}" if beside.is_file() else "give the .onnx file that `mien export` wrote beside it"
    elif found.kind == "store":
        hint = f"mien evaluate {path} --model MODEL.onnx evaluates a model on it"
    elif found.kind in _FOREIGN:
        hint = "mien runs only models that it has exported; train one with `mien train` and `mien export`"
    return WeightsError(message, hint=hint)


def export_command(found: Found) -> str:
    """How to export the run that was found."""
    folder = found.run or Path("RUN")
    name = f"{folder.resolve().name}.onnx" if found.run else "MODEL.onnx"
    last = " --checkpoint last" if found.path.name == "last.ckpt" else ""
    return f"export it first: mien export {folder} --data STORE.h5{last} --out {name}"


def wrong_store(path: Path) -> DataError | None:
    """The error if a path is given as a store and is something else; None if it may be a store, or is not there."""
    found = recognise(path)
    if found.kind in ("", "store", "hdf5"):
        return None
    hint = "give a store from `mien data build`"
    if found.kind in ("run", "checkpoint"):
        hint += f"; to evaluate a run: mien compare {found.run or 'RUN'} --data STORE.h5"
    elif found.kind in ("onnx", "safetensors") or found.kind in _FOREIGN:
        hint += f"; a model is an option: --model {path}" if found.kind == "onnx" else ""
    elif found.kind == "csv":
        hint = f"build one from it: mien data build fer2013 --csv {path} --out STORE.h5"
    elif found.kind == "folder":
        hint = f"build one from it: mien data build folder {path} --out STORE.h5"
    elif found.kind == "toml":
        hint += f"; a recipe is the first argument: mien train {path} --data STORE.h5"
    elif found.kind == "archive":
        hint = "unpack it, and build a store from its files with `mien data build`"
    return DataError(f"{path}: is {found}, expected a store", hint=hint)


def wrong_recipe(path: Path) -> ConfigError | None:
    """The error if a path is given as a recipe and is something else; None if it may be a recipe, or is not there."""
    found = recognise(path)
    if found.kind in ("", "toml"):
        return None
    hint = "give a .toml file, or the name of a recipe"
    if found.kind == "store":
        hint = f"the store is an option: mien train RECIPE --data {path}"
    elif found.run:
        hint = f"to resume it: --resume {found.run}; to start from its weights: --from {found.run}; its recipe: "
        hint += str(found.run / _RECIPE)
    elif found.kind == "folder":
        hint += f"; to resume a run: --resume {path}"
    elif found.kind in ("onnx", "safetensors", "checkpoint"):
        hint = f"to start from its weights: mien train --from {with_training_form(path)} --data STORE.h5"
    return ConfigError(f"{path}: is {found}, expected a recipe", hint=hint)


def with_training_form(path: Path) -> str:
    """What training can start from instead of this file of a model: the .safetensors file beside it."""
    beside = path.with_suffix(".safetensors")
    return str(beside) if beside.is_file() else "MODEL.safetensors"


def wrong_source(path: Path) -> ConfigError | None:
    """The error if training is to start from a file that holds no weights to train; None if it may hold some."""
    found = recognise(path)
    if found.kind in ("", "safetensors", "run"):
        return None
    hint = "give a run's folder, a .safetensors file from `mien export`, or the name of a shipped model"
    if found.kind == "checkpoint" and found.run:
        hint = f"give the run's folder: {found.run}"
    elif found.kind == "onnx":
        hint = f"give the training form, which `mien export` writes beside it: {with_training_form(path)}"
    return ConfigError(f"{path}: is {found}, which training cannot start from", hint=hint)


def run_and_checkpoint(path: Path) -> tuple[Path, str | None]:
    """The folder of a run, and "best" or "last" if the path is one of its checkpoints.

    Raises:
        ConfigError: It is neither.
    """
    found = recognise(path)
    if found.kind == "run" and found.run:
        return path, None
    if found.run and path.stem in CHECKPOINTS[:2]:
        return found.run, path.stem
    hint = "give the folder that `mien train` made: it has a recipe.toml and checkpoints"
    if not found.kind:
        raise ConfigError(f"{path}: no such folder", hint=hint)
    if found.kind == "onnx":
        hint = "it is exported already: mien analyze IMAGE --model " + str(path)
    elif found.run:
        hint = f"give {found.run}; `mien export` takes its best or its last checkpoint"
    elif found.kind == "run":
        hint = f"its {_RECIPE} is missing"
    raise ConfigError(f"{path}: is {found}, expected the folder of a training run", hint=hint)
