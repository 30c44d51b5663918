"""Notes in the shipped models how frequent the classes were in training: `python -m scripts.set_class_shares STORE`.

STORE is FER2013 with the votes of FER+, `mien data build fer2013 --votes`. `mien export` does this for new models. For
each head the class shares of the training split, and the temperature and the threshold under each prior, fitted on the
val split, are written into the file, its training form and the manifest, with the scores measured again; weights and
logits stay as they are.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import onnx
import safetensors.torch

from mien.assets.manifest import FOLDER, METADATA_KEY, shipped_models
from mien.assets.signature import ClassShares
from mien.datasets import store
from mien.evaluation import evaluate_model
from mien.expression import OnnxClassifier
from mien.training.artifacts import dump_toml, serialised, with_info
from mien.training.expression.data import training_shares
from mien.training.expression.export import calibrated
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.recipe import load

RECIPE: Final = "mien-m"  # all shipped models have its two heads


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path)
    samples = store.load(parser.parse_args().store)
    recipe = load(RECIPE, form=ExpressionRecipe)
    shares = {
        name: ClassShares(tuple(round(share, 6) for share in found.tolist()))
        for name, found in training_shares(samples.only("train"), recipe).items()
    }
    held = samples.only("val")
    models, trained = dict(shipped_models()), dict[str, str]()  # an int8 form has the training form of the full one
    for name, info in shipped_models("expression").items():
        known = info.with_outputs(*(replace(head, classes=shares[head.name]) for head in info.heads))
        classifier = OnnxClassifier(name)
        classifier.info = known
        fitted = calibrated(classifier, held)
        heads = [  # the temperature and the threshold under the prior of training stay
            replace(old, classes=new.classes) for old, new in zip(info.heads, fitted.heads, strict=True)
        ]
        fitted = info.with_outputs(*heads)
        fitted = replace(fitted, scores=evaluate_model(name, held, split="val").headline())
        path = FOLDER / info.file
        content = with_info(serialised(onnx.load(path)), fitted)
        path.write_bytes(content)
        fitted = replace(fitted, sha256=hashlib.sha256(content).hexdigest())
        if info.training_file and info.form == "full":
            place = FOLDER / info.training_file
            weights = safetensors.torch.load(place.read_bytes())
            training = safetensors.torch.save(weights, metadata={METADATA_KEY: fitted.to_json()})
            place.write_bytes(training)
            trained[info.training_file] = hashlib.sha256(training).hexdigest()
        models[name] = fitted
        print(name, *(f"{head.name}: {dict(head.classes.temperatures)}" for head in fitted.heads if head.classes))
    models = {
        name: replace(info, training_sha256=trained.get(info.training_file, info.training_sha256))
        for name, info in models.items()
    }
    (FOLDER / "manifest.toml").write_text(dump_toml(*models.values()), encoding="utf-8")


if __name__ == "__main__":
    main()
