"""A store as class folders of PNG files, as `mien data build folder` reads them."""

import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from PIL import Image

from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.errors import DataError, OutputError

__all__ = ["export"]


def export(samples: Samples, out: Path) -> Mapping[str, int]:
    """Writes OUT/train/CLASS/NUMBER-NAME.png, and val and test where there are such rows, into the new folder `out`.

    The number is the row's. Rows without a label are left out and counted. Votes have no place in this form.

    Returns:
        The number of rows left out, by reason.

    Raises:
        DataError: A class's name cannot be that of a folder.
        OutputError: The folder holds something already, or cannot be written.
    """
    if strange := [name for name in samples.classes if Path(name).name != name or name.startswith(".")]:
        raise DataError(f"{strange[0]!r} cannot be the name of a folder", hint="build the store with plain names")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OutputError(f"cannot write '{out}': it is there already", hint="give a new folder")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    written = 0
    try:
        for row, label in enumerate(samples.labels.tolist()):
            if label == NO_LABEL:
                continue
            place = partial / SPLITS[samples.split[row]] / samples.classes[label]
            place.mkdir(parents=True, exist_ok=True)
            stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(str(samples.names[row])).stem)[:60]
            Image.fromarray(samples.images[row]).save(place / f"{row:06}-{stem}.png", format="PNG")
            written += 1
        partial.replace(out)
    except OSError as error:
        raise OutputError(
            f"cannot write '{out}': {(error.strerror or str(error)).lower()}",
            hint="check the folder's permissions and the free space",
        ) from error
    finally:
        with suppress(OSError):  # it is there only after a failure
            shutil.rmtree(partial)
    return {"without a label": len(samples) - written}
