"""Changes what the shipped detector says of itself: `python -m scripts.set_detector_entry KEY=VALUE ...`.

`mien export` takes the score at which precision and recall balance on scenes like those of training, fuller of tiny and
spoilt faces than photographs are, and knows of the data only how many images there were. Where photographs show that
another score serves better, or to name the data, this writes it into the file and its info.
"""

import argparse
import hashlib
import json
from dataclasses import replace

import onnx

from mien.assets.detectors import METADATA_KEY, DetectorInfo, dump_toml, open_detector, shipped
from mien.assets.manifest import FOLDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("changes", nargs="+", metavar="KEY=VALUE", help="operating_point, data, description, licence")
    changes = parser.parse_args().changes
    path = FOLDER / shipped().file
    _, session = open_detector()
    inside = json.loads(session.metadata[METADATA_KEY])
    for key, _, text in (argument.partition("=") for argument in changes):
        inside[key] = float(text) if key == "operating_point" else text
    info = DetectorInfo.from_dict(inside, "the command line")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: info.to_json()})
    content = model.SerializeToString()
    old = shipped()
    info = replace(
        info,
        file=old.file,
        sha256=hashlib.sha256(content).hexdigest(),
        training_file=old.training_file,
        training_sha256=old.training_sha256,
    )
    path.write_bytes(content)
    (FOLDER / "detectors.toml").write_text(dump_toml(info), encoding="utf-8")
    print(f"{path.name}: {', '.join(changes)}")


if __name__ == "__main__":
    main()
