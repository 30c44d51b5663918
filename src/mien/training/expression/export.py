"""Exports a run: the fused ONNX file with the model's description inside, and its training form beside it.

Parity of the file with its checkpoint is checked before anything is written. Temperatures, thresholds and scores are
measured on the file, through the same `expression` code that users run, never on the checkpoint.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import models
from mien.assets.manifest import Head, ModelInfo
from mien.assets.signature import ClassShares, Features, ValenceArousal
from mien.datasets import Samples
from mien.datasets.examples import examples_of, faces_of
from mien.errors import ConfigError, WeightsError
from mien.evaluation import calibration, evaluate_model, protocols_of
from mien.evaluation.score import COVERAGE
from mien.expression import OnnxClassifier, prior, softmax
from mien.expression.classifier import head_for
from mien.files import staging_folder
from mien.models import Network
from mien.training.artifacts import check_name, publish, serialised, with_info
from mien.training.checkpoints import load_module
from mien.training.expression.data import training_shares
from mien.training.expression.module import ExpressionModule
from mien.training.expression.recipe import ExpressionRecipe
from mien.training.recipe import load as load_recipe
from mien.training.silence import silenced
from mien.training.weights import read_origin

TOLERANCE: Final = 1e-4  # of the parity gate, on logits


def export_run(
    folder: Path,
    samples: Samples,
    out: Path,
    *,
    trained: Samples | None = None,
    checkpoint: str = "best",
    licence: str = "",
) -> list[Path]:
    """Exports a run's checkpoint to `out` (.onnx), with its training form and its manifest entry beside it.

    Args:
        folder: The run's folder.
        samples: The validation split, on which temperatures, thresholds and scores are measured.
        out: The ONNX file to write.
        trained: The training split, whose class shares the file notes; None: they are not known, and the model can be
            read under the prior of its training data only.
        checkpoint: "best" or "last".
        licence: Licence of the weights, for the description.

    Returns:
        The files written.

    Raises:
        ConfigError: The data has other classes than the run.
        WeightsError: The run has no such checkpoint, or the exported network differs from it.
        OutputError: The files cannot be written.
    """
    check_name(out)
    recipe = load_recipe(folder / "recipe.toml", form=ExpressionRecipe)
    module = load_module(ExpressionModule, folder / f"{checkpoint}.ckpt")
    network = module.network.float()
    classes = module.classes
    shares = {} if trained is None else _shares(trained, recipe, classes)
    info = replace(
        network_info(recipe, classes, network.width, shares),
        licence=licence,
        data=f"{samples.about.get('data_set', 'own data')}, {samples.about.get('labels', 'own labels')}"
        + (" and FER+ votes" if samples.about.get("votes") else ""),
        pretrained=read_origin(folder),
    )
    _check_adjusted(recipe, info.heads)
    _check_classes(info, samples)
    graph = _to_onnx(network, info)
    with staging_folder(out) as staging:
        trial = staging / "trial.onnx"
        trial.write_bytes(with_info(graph, info))
        exported = OnnxClassifier(trial)
        _check_parity(network, exported, samples)
        exported.info = calibrated(exported, samples)
        info = replace(exported.info, scores=evaluate_model(exported, samples, split="val").headline())
        return publish(graph, info, out, staging, network.state_dict())


def network_info(
    recipe: ExpressionRecipe,
    classes: Mapping[str, Sequence[str]],
    width: int,
    shares: Mapping[str, ClassShares] = MappingProxyType({}),
) -> ModelInfo:
    """The description of a trained network: what it reads and writes, and its architecture.

    Args:
        recipe: That it was trained by.
        classes: Of each output that the recipe names.
        width: Number of features before the outputs.
        shares: The class shares of training, by head, where they are known.
    """
    heads = [Head(name, tuple(classes[name]), classes=shares.get(name)) for name in recipe.class_heads]
    affects = [ValenceArousal(name) for name in classes if name not in recipe.class_heads]
    return ModelInfo(
        name=recipe.name,
        task="expression",
        description=recipe.description,
        inputs=models.inputs_of(
            recipe.model.name, recipe.input.spec(), landmarks=recipe.input.landmarks, frames=recipe.input.frames
        ),
        outputs=(*heads, *affects, Features(width, "features_" if "features" in classes else "features")),
        architecture={"name": recipe.model.name, **recipe.model.options},
    )


def _shares(trained: Samples, recipe: ExpressionRecipe, classes: Mapping[str, Sequence[str]]) -> dict[str, ClassShares]:
    """The class shares of the heads that the data has the labels for."""
    able = {
        name: head
        for name, head in recipe.class_heads.items()
        if (trained.votes is not None if head.source == "votes" else list(trained.classes) == list(classes[name]))
    }
    if not able:
        return {}
    trained = examples_of(trained, recipe.input.frames).samples
    found = training_shares(trained, recipe.model_copy(update={"heads": able}))
    return {
        name: ClassShares(tuple(round(share, 6) for share in shares.tolist()), able[name].logit_adjustment)
        for name, shares in found.items()
        if shares.sum() > 0
    }


def _check_adjusted(recipe: ExpressionRecipe, heads: Sequence[Head]) -> None:
    """Without the shares that the loss removed, the file could not give the probabilities of its training data."""
    for head in heads:
        if recipe.heads[head.name].logit_adjustment and head.classes is None:
            raise ConfigError(
                f"the head '{head.name}' was trained with logit_adjustment, and the data has no training faces for it",
                hint="give the store that the run was trained on",
            )


def _check_classes(info: ModelInfo, samples: Samples) -> None:
    """Temperatures and scores can only be measured on the classes that the run learned."""
    if samples.votes is None and not any(set(head.emotions) == set(samples.classes) for head in info.heads):
        learned = "; ".join(", ".join(head.emotions) for head in info.heads)
        raise ConfigError(
            f"the data's {len(samples.classes)} classes ({', '.join(samples.classes)}) are not those of the run "
            f"({learned})",
            hint="give the data that the run was trained on",
        )


class _Outputs(nn.Module):
    """A network that returns its outputs as a tuple, in the order of the description, as ONNX needs them."""

    def __init__(self, network: Network, heads: list[str]) -> None:
        super().__init__()
        self.network, self.heads = network, heads

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The inputs of the network -> logits (N, classes) or affect (N, 2) by head, and features (N, F)."""
        features = self.network.features(*inputs)
        logits = self.network.classify(features)
        return *(logits[name] for name in self.heads), features


def _to_onnx(network: Network, info: ModelInfo) -> bytes:
    example = tuple(torch.rand(2, *(size or 1 for size in part.shape[1:])) for part in info.inputs)
    faces = torch.export.Dim("faces")
    with silenced("torch.onnx"):  # it warns about torchvision, which is not used
        program = torch.onnx.export(
            _Outputs(network.fused(), [part.name for part in info.outputs if not isinstance(part, Features)]).eval(),
            example,
            input_names=[part.name for part in info.inputs],
            output_names=[part.name for part in info.outputs],
            dynamic_shapes=(tuple({0: faces} for _ in example),),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # None only if a file is written
    return serialised(program.model_proto)


def _check_parity(network: Network, exported: OnnxClassifier, samples: Samples, count: int = 64) -> None:
    """The unfused checkpoint and the exported file must agree, for single faces and for batches."""
    examples = examples_of(samples, exported.frames)
    faces = faces_of(samples, examples, exported.keypoint_scheme)[:count]
    single = copy.copy(exported)
    single.options = replace(exported.options, batch_size=1)
    with torch.no_grad():
        expected = network.eval()(*map(torch.from_numpy, exported.inputs(faces)))
    (together,) = exported.logits(faces)
    (alone,) = single.logits(faces)
    for name, logits in expected.items():
        for found in (together[name], alone[name]):
            difference = float(np.abs(found - logits.numpy()).max())
            if not difference <= TOLERANCE:
                raise WeightsError(
                    f"the exported network differs from its checkpoint by {difference:.2g} on head '{name}', "
                    f"more than {TOLERANCE:g}",
                    hint="this is a bug in the export or in the network's fused form",
                )


def calibrated(exported: OnnxClassifier, samples: Samples) -> ModelInfo:
    """The description with each head's temperature and threshold, fitted on the protocol that suits this head best.

    That is the one that has the most of the head's classes, and of several the first: a network with a votes head alone
    also answers for FER2013's seven labels, but is calibrated for FER+ majority. A protocol is skipped if no head knows
    all its classes.

    Args:
        exported: The exported file.
        samples: The validation split.
    """
    examples = examples_of(samples, exported.frames)
    (logits,) = exported.logits(faces_of(samples, examples, exported.keypoint_scheme))
    samples, info = examples.samples, exported.info
    heads = {head.name: head for head in info.heads}
    # The last one to set a head counts: the first of those with the most classes.
    best_first = sorted(protocols_of(samples), key=lambda protocol: -len(protocol.classes))
    for protocol in reversed(best_first):
        try:
            head = head_for(info, protocol.classes)
        except ConfigError:
            continue
        # Dropping classes and renormalising is the same as leaving their logits out of the softmax.
        columns = [head.emotions.index(name) for name in protocol.classes]
        known, labels = logits[head.name][protocol.kept][:, columns], protocol.labels[protocol.kept]
        names = prior.PRIORS if head.classes else ("training",)
        fitted = {each: _fitted(head, known, labels, protocol.classes, each) for each in names}
        temperature, threshold = fitted.pop("training")
        classes = head.classes and replace(
            head.classes,
            temperatures={name: values[0] for name, values in fitted.items()},
            thresholds={name: values[1] for name, values in fitted.items()},
        )
        heads[head.name] = replace(head, temperature=temperature, threshold=threshold, classes=classes)
    return info.with_outputs(*heads.values())


def _fitted(
    head: Head, logits: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[str, ...], name: str
) -> tuple[float, float]:
    """The temperature and the threshold of a head under a prior.

    Under another prior than that of training, each face has the weight that brings the classes to the shares that the
    prior assumes: that is where its probabilities are to be right.

    Args:
        head: The head.
        logits: (N, C) float32.
        labels: (N,) indices of the true classes.
        classes: The C classes.
        name: Of the prior.
    """
    by = prior.factors(head, classes, name, head.name)
    weights = None
    if name != "training":
        learned = prior.learned_shares(head, classes, head.name)
        weights = calibration.class_weights(labels, prior.assumed_shares(classes, learned, name))
    temperature = round(calibration.fit_temperature(logits, labels, by, weights), 4)
    confidence = prior.under(softmax(logits, temperature), by).max(axis=1)
    return temperature, round(calibration.coverage_threshold(confidence, COVERAGE), 4)
