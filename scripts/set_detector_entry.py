"""Changes the description of the shipped detector: `python -m scripts.set_detector_entry KEY=VALUE ...`.

`mien export` takes the score at which precision and recall balance on scenes like those of training, which have more
tiny and degraded faces than photographs, and knows only how many images the data has. If photographs show that another
score serves better, or to name the data, this writes it into the file and into the manifest.
"""

import argparse
import hashlib
from dataclasses import replace

import onnx

from mien.assets.manifest import FOLDER, default_model, model_info, shipped_models
from mien.training.artifacts import dump_toml, serialised, with_info

TEXTS = ("data", "description", "licence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="+", metavar="KEY=VALUE", help=f"operating_point, {', '.join(TEXTS)}")
    changes = dict(change.split("=", 1) for change in parser.parse_args().changes)
    if unknown := set(changes) - {"operating_point", *TEXTS}:
        parser.error(f"unknown: {', '.join(unknown)}")
    info = model_info(default_model("detection"))
    if point := changes.pop("operating_point", None):
        info = info.with_outputs(replace(info.detections, operating_point=float(point)))
    info = replace(info, **changes)
    path = FOLDER / info.file
    content = with_info(serialised(onnx.load(path)), info)
    info = replace(info, sha256=hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    manifest = dump_toml(*(dict(shipped_models()) | {info.name: info}).values())
    (FOLDER / "manifest.toml").write_text(manifest, encoding="utf-8")
    print(f"{path.name}: {', '.join(changes) or 'operating_point'}")


if __name__ == "__main__":
    main()
