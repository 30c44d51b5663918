"""Makes a run of a network that was fine-tuned from dlib's outside mien: to export it, and to use it as a teacher.

    python -m scripts.import_trial dlib_fer_trial_fp16.safetensors --out runs/trial
    mien export runs/trial --data fer.h5 --out trial.onnx
    mien data distil fer.h5 --teacher trial.onnx --out soft.h5

The file has the tensors of `dlib_resnet` for grey images in the order of dlib's blocks, and two linear layers: `votes`
with the columns of FER+, and `label` with the codes of FER2013.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mien import emotions, models
from mien.datasets import ferplus
from mien.models.dlib_resnet import Residual
from mien.training import checkpoints, load_recipe
from mien.training.expression.module import ExpressionModule
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.recipe import to_toml
from mien.training.weights import write_origin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--size", type=int, default=128, help="side of its images")
    chosen = parser.parse_args()
    recipe = load_recipe(
        "dlib-resnet",
        [
            f"name={chosen.out.name}",
            f"input.size={chosen.size}",
            f"input.mean=[{114.69 / 255}]",
            f"input.std=[{256 / 255}]",
            f"model.weights={chosen.weights.absolute()}",
        ],
        form=ExpressionRecipe,
    )
    found = models.pretrained.read(str(chosen.weights))
    classes = {"votes": list(emotions.vocabulary(10)), "fer2013": list(emotions.vocabulary(7))}
    module = ExpressionModule(recipe.model_dump(mode="json"), classes)
    module.load_state_dict({f"network.{name}": value for name, value in _renamed(module, found.state)})
    chosen.out.mkdir(parents=True)
    content = {"hyper_parameters": module.hyper_parameters, "state_dict": module.state_dict()}
    checkpoints.save({chosen.out / "best.ckpt": content})
    (chosen.out / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    write_origin(chosen.out, found.origin.as_dict())
    print(chosen.out)


def _renamed(module: ExpressionModule, state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors under mien's names, the classes in its order."""
    blocks = [name for name, part in module.network.named_modules() if isinstance(part, Residual)]
    places = {"conv": "trunk.stem.0.conv", "norm": "trunk.stem.0.norm"}
    for number, block in enumerate(blocks):
        for part, place in ((1, "first"), (2, "second")):
            places |= {f"blocks.{number}.{kind}{part}": f"{block}.{place}.{kind}" for kind in ("conv", "norm")}
    order = torch.tensor([ferplus.COLUMNS.index(name) for name in emotions.vocabulary(10)])
    for key, value in state.items():
        layer, _, name = key.rpartition(".")
        if layer == "votes":
            yield f"heads.votes.{name}", value[order]
        elif layer == "label":
            yield f"heads.fer2013.{name}", value
        else:
            yield f"{places[layer]}.{name}", value


if __name__ == "__main__":
    main()
