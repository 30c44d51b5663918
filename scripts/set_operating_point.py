"""Sets the shipped detector's operating point: `python -m scripts.set_operating_point 0.5`.

`mien export` takes the score at which precision and recall balance on scenes like those of training, fuller of tiny and
spoilt faces than photographs are. Where photographs show that another score serves better, this writes it into the file
and its entry.
"""

import hashlib
import json
import sys
from dataclasses import replace

import onnx

from mien.assets.detectors import METADATA_KEY, dump_toml, open_detector, shipped
from mien.assets.manifest import FOLDER


def main() -> None:
    point = float(sys.argv[1])
    path = FOLDER / shipped().file
    _, session = open_detector()
    inside = {**json.loads(session.metadata[METADATA_KEY]), "operating_point": point}
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(inside, sort_keys=True)})
    content = model.SerializeToString()
    entry = replace(shipped(), operating_point=point, sha256=hashlib.sha256(content).hexdigest())
    path.write_bytes(content)
    (FOLDER / "detectors.toml").write_text(dump_toml(entry), encoding="utf-8")
    print(f"{path.name}: {point}")


if __name__ == "__main__":
    main()
