"""The data that is curated: what is looked for in it, and how it is read.

A data set is read by its builder, so that the names of its images are those that the builder knows again when it leaves
some out. Importing this module loads neither OpenCV nor onnxruntime.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from mien.assets.manifest import ModelInfo
from mien.datasets import Samples
from mien.datasets.builders import fer2013, folder, labelcsv, listed
from mien.datasets.class_folders import read_tree
from mien.datasets.class_names import OWN, ClassOptions, NameOptions
from mien.datasets.csv_rows import header
from mien.datasets.exclude import RowOptions
from mien.datasets.folds import PersonSplitOptions
from mien.datasets.splits import SplitOptions
from mien.datasets.stored_faces import FaceOptions
from mien.errors import ConfigError, InputError
from mien.expression.base import check_count

KINDS: Final = ("labels", "copies", "faces", "quality")  # what can be looked for
_SIDE: Final = 96  # of images that are read from files
_TABLES: Final = (".csv", ".gz", ".zip")


@dataclass(frozen=True, slots=True)
class CurateOptions:
    """What is looked for, and how; the command line derives its options and their help from these fields.

    Raises:
        ConfigError: There is no such kind, or a number is too small.
    """

    find: Annotated[tuple[str, ...] | None, f"What to look for: {', '.join(KINDS)}; by default all of them."] = None
    model: Annotated[str | Path | None, "The model with the features: a shipped name or an exported .onnx file."] = None
    folds: Annotated[int, "Folds of the cross-validation."] = 5
    predictions: Annotated[
        Path | None, "The folder of `mien crossval` on this data: judge the labels by its predictions instead."
    ] = None
    split: Annotated[str | None, "Only this split of the data: train, val or test."] = None
    crop_faces: Annotated[bool, "For folders and lists: the images are photographs; find the face of each first."] = (
        False
    )
    threads: Annotated[int, "Threads of the networks."] = 1

    def __post_init__(self) -> None:
        check_count("threads", self.threads)
        if self.folds < 2:
            raise ConfigError(f"folds: expected a number from 2, got {self.folds}", hint="5 is usual")
        kinds = tuple(name.strip() for word in self.find or KINDS for name in word.split(","))
        if unknown := [name for name in kinds if name not in KINDS]:
            raise ConfigError(f"find: there is no kind '{unknown[0]}'", hint=f"choose among {', '.join(KINDS)}")
        object.__setattr__(self, "find", kinds)

    def looks_for(self, kind: str) -> bool:
        """Whether this kind is looked for."""
        return kind in (self.find or KINDS)


def was_trained_on(info: ModelInfo, samples: Samples) -> bool:
    """Whether the network was trained on this data, as far as its store tells."""
    return samples.about.get("data_set") == "fer2013" and "FER2013" in info.data.upper()


def read(path: Path, options: CurateOptions, names: NameOptions) -> Samples:
    """Reads a data set as its builder does, with all rows, duplicates too, and no random splits.

    The classes of folders and lists are those that they have; emotions get their nouns.

    Raises:
        InputError: The source does not exist or cannot be read.
        DataError: It has another form.
    """
    rows = RowOptions(keep_duplicates=True)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", hint="check the path")
    if path.is_file() and path.suffix.lower() not in _TABLES:
        if options.crop_faces or names != NameOptions():
            raise ConfigError(
                "a store has its crops and classes already", hint="leave out --crop-faces, --numbers, --map"
            )
        from mien.datasets import store  # late: it imports h5py

        return store.load(path)
    own = ClassOptions(names.numbers, names.map, OWN)
    faces = FaceOptions(size=_SIDE, crop_faces=options.crop_faces, keep_faceless=options.crop_faces)
    if path.is_dir() and (path / labelcsv.FOLDERS[0]).is_dir():
        return labelcsv.build(folder=path, keep_unlabelled=True, choice=rows)
    if path.is_dir() and not (path / labelcsv.LIST).is_file():
        tree = read_tree(path)
        val, test = (None if name in tree or "train" not in tree else 0.0 for name in ("val", "test"))
        return folder.build(path, names=own, faces=faces, split=SplitOptions(val, test), choice=rows)
    table = path / labelcsv.LIST if path.is_dir() else path
    columns = header(table, fer2013.FILES)
    if "pixels" in columns:
        split = SplitOptions() if "Usage" in columns else SplitOptions(val=0, test=0)
        return fer2013.build(csv=table, names=names, split=split, choice=rows)
    divided = "split" in [name.lower() for name in columns]
    by_person = PersonSplitOptions() if divided else PersonSplitOptions(val=0, test=0)
    return listed.build(table, names=own, faces=faces, split=by_person, choice=rows)
