"""A store as class folders of PNG files, as `mien data build folder` reads them."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from PIL import Image

from mien.datasets.export import new_folder
from mien.datasets.samples import NO_LABEL, SPLITS, Samples
from mien.errors import DataError
from mien.progress import Progress, unseen


def export(samples: Samples, out: Path, progress: Progress = unseen) -> Mapping[str, int]:
    """Writes the new folder OUT with OUT/train/CLASS/NUMBER-NAME.png, and val and test if they have rows.

    The number is that of the row. Rows without a label are left out and counted. Votes are not exported.

    Returns:
        The number of rows left out, by reason.

    Raises:
        DataError: The name of a class cannot be the name of a folder.
        OutputError: The folder exists already, or cannot be written.
    """
    if strange := [name for name in samples.classes if Path(name).name != name or name.startswith(".")]:
        raise DataError(f"{strange[0]!r} cannot be the name of a folder", hint="build the store with plain names")
    written = 0
    with new_folder(out) as folder:
        for row, label in enumerate(samples.labels.tolist()):
            if label != NO_LABEL:
                place = folder / SPLITS[samples.split[row]] / samples.classes[label]
                place.mkdir(parents=True, exist_ok=True)
                stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(str(samples.names[row])).stem)[:60]
                Image.fromarray(samples.images[row]).save(place / f"{row:06}-{stem}.png", format="PNG")
                written += 1
            progress(row + 1, len(samples))
    return {"without a label": len(samples) - written}
