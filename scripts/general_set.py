"""Makes the general set of a shipped model, which `mien personalise` needs, and prints its lines of the manifest.

    python -m scripts.general_set mien-m --data fer.h5 --faces 2800 --training-faces 7000 --write

The store must have FER2013's labels with the splits train and val (`mien data build fer2013`, without --emotions). At
most --faces of PublicTest are kept, evenly spaced, so that the file stays below its limit. With --write, the lines
are put into `manifest.toml`.
"""

import argparse
import hashlib
import re
from pathlib import Path

from mien.assets.manifest import FOLDER, shipped_models
from mien.datasets import store
from mien.expression import OnnxClassifier
from mien.personalise.general import make_general, save_general

LIMIT = 2_000_000  # bytes of a file


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", choices=[name for name, info in shipped_models("expression").items()])
    parser.add_argument("--data", type=Path, required=True, help="a store of FER2013's labels")
    parser.add_argument("--faces", type=int, help="keep at most this many faces of PublicTest")
    parser.add_argument("--training-faces", type=int, help="learn means and covariance from at most this many")
    parser.add_argument("--write", action="store_true", help="put the lines into the manifest")
    arguments = parser.parse_args()
    general = make_general(
        OnnxClassifier(arguments.model), store.load(arguments.data), arguments.faces, arguments.training_faces
    )
    path = FOLDER / f"{arguments.model}.general.npz"
    size = save_general(general, path)
    lines = f'general_file = "{path.name}"\ngeneral_sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"\n'
    print(f"{path}: {len(general.labels):,} faces, {size:,} bytes\n{lines}", end="")
    if size > LIMIT:
        raise SystemExit(f"expected at most {LIMIT:,} bytes; give a smaller --faces")
    if arguments.write:
        manifest = FOLDER / "manifest.toml"
        table = re.compile(rf"(\[models\.{re.escape(arguments.model)}\]\n(?:[a-z_0-9]+ = .*\n)*)")

        def renewed(found: re.Match[str]) -> str:
            return re.sub(r"general_(?:file|sha256) = .*\n", "", found[1]) + lines

        manifest.write_text(table.sub(renewed, manifest.read_text(), count=1))


if __name__ == "__main__":
    main()
