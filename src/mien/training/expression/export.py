"""From a run to what ships: the fused ONNX file with its info inside, and its training form beside it.

The file is judged through the same `expression` code that users run, never the checkpoint; a parity gate compares the
two before anything is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import onnx
import safetensors.torch
import torch
from torch import Tensor, nn

from mien.assets.detectors import DetectorInfo
from mien.assets.manifest import METADATA_KEY, Head, ModelInfo, dump_toml
from mien.datasets import Samples
from mien.errors import ConfigError, WeightsError
from mien.evaluation import calibration, evaluate_model, protocols_of
from mien.evaluation.score import COVERAGE
from mien.expression import ClassifierOptions, OnnxClassifier, softmax
from mien.expression.classifier import head_for
from mien.expression.preprocess import fitted, normalised
from mien.files import staging_folder, writable
from mien.models import Network
from mien.training.expression import load_task
from mien.training.recipe import Recipe
from mien.training.recipe import load as load_recipe
from mien.training.silence import quiet

__all__ = ["calibrated", "export_run", "publish", "with_info"]

_AnyEntry = TypeVar("_AnyEntry", ModelInfo, DetectorInfo)
TOLERANCE: Final = 1e-4  # of the parity gate, on logits


def export_run(folder: Path, samples: Samples, out: Path, *, checkpoint: str = "best", licence: str = "") -> list[Path]:
    """Exports a run's checkpoint to `out` (.onnx), with its training form and its manifest info beside it.

    Args:
        folder: The run's folder.
        samples: The validation split: temperatures, thresholds and scores are taken on it.
        out: The ONNX file to write.
        checkpoint: "best" or "last".
        licence: Of the weights, for the info.

    Returns:
        The files written.

    Raises:
        ConfigError: The data has other classes than the run.
        WeightsError: The run has no such checkpoint, or the exported network differs from it.
        OutputError: The files cannot be written.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: an exported model is an .onnx file", hint=f"--out {out.with_suffix('.onnx')}")
    recipe = load_recipe(folder / "recipe.toml", form=Recipe)
    task = load_task(folder / f"{checkpoint}.ckpt")
    classes: Mapping[str, list[str]] = task.hparams["classes"]
    info = ModelInfo(
        name=recipe.name,
        description=recipe.description,
        input=recipe.input.spec(),
        heads=tuple(Head(name, tuple(names)) for name, names in classes.items()),
        landmarks=recipe.input.landmarks,
        architecture={"name": recipe.model.name, **recipe.model.options},
        licence=licence,
        data=f"{samples.about.get('data_set', 'own data')}, {samples.about.get('labels', 'own labels')}"
        + (" and FER+ votes" if samples.about.get("votes") else ""),
    )
    _check_classes(info, samples)
    network = task.network.float()
    graph = _to_onnx(network, info)
    with staging_folder(out) as place:
        trial = place / "trial.onnx"
        trial.write_bytes(with_info(graph, info))
        _check_parity(network, trial, samples)
        info = calibrated(info, trial, samples)
        trial.write_bytes(with_info(graph, info))
        scores = evaluate_model(trial, samples, split="val").headline()
        info = replace(info, scores=scores)
        trial.write_bytes(with_info(graph, info))
        return publish(trial, info, out, network, dump=dump_toml)


def _check_classes(info: ModelInfo, samples: Samples) -> None:
    """Temperatures and scores from other classes than those that were learnt would say nothing."""
    if samples.votes is None and not any(set(head.emotions) == set(samples.classes) for head in info.heads):
        learnt = "; ".join(", ".join(head.emotions) for head in info.heads)
        raise ConfigError(
            f"the data's {len(samples.classes)} classes ({', '.join(samples.classes)}) are not what the run learnt "
            f"({learnt})",
            hint="export it with the data it was trained on",
        )


def publish(
    trial: Path,
    info: _AnyEntry,
    out: Path,
    network: nn.Module | None = None,
    *,
    key: str = METADATA_KEY,
    dump: Callable[[_AnyEntry], str],
) -> list[Path]:
    """Moves a finished ONNX file to `out`, last, with its manifest info and, given a network, its training form.

    Args:
        trial: The file, its info inside.
        info: Of the manifest; names and hashes of the files are filled in.
        out: Where it goes; the others come beside it.
        network: In its training form.
        key: Of the info in the files' metadata.
        dump: Writes the info as TOML.
    """
    contents = {".onnx": trial.read_bytes()}
    beside = replace(info, file=out.name, sha256=sha256(contents[".onnx"]).hexdigest())
    if network is not None:
        weights = {
            name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
            for name, value in network.state_dict().items()
        }
        training = safetensors.torch.save(weights, metadata={key: info.to_json()})
        contents[".safetensors"] = training
        beside = replace(
            beside,
            training_file=out.with_suffix(".safetensors").name,
            training_sha256=sha256(training).hexdigest(),
        )
    contents[".entry.toml"] = dump(beside).encode()
    targets = {suffix: writable(out.with_suffix(suffix)) for suffix in reversed(contents)}  # all, before any moves
    for suffix, target in targets.items():
        part = trial.with_suffix(suffix)
        part.write_bytes(contents[suffix])
        part.replace(target)
    return list(targets.values())


class _Outputs(nn.Module):
    """A network whose heads come as a tuple, in the info's order, as ONNX wants them."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) -> logits by head."""
        logits = self.network(images)
        return tuple(logits[name] for name in self.names)


def _to_onnx(network: Network, info: ModelInfo) -> onnx.ModelProto:
    names = [head.name for head in info.heads]
    size = info.input.size
    example = torch.zeros(2, info.input.depth, size, size)
    with quiet("torch.onnx"):  # it remarks on torchvision, which is not used
        program = torch.onnx.export(
            _Outputs(network.fused(), names).eval(),
            (example,),
            input_names=["images"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("faces")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # None only where a file is written
    graph = program.model_proto
    onnx.checker.check_model(graph)
    return graph


def with_info(graph: onnx.ModelProto, info: ModelInfo) -> bytes:
    """The file's bytes, with the info in its metadata."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    onnx.helper.set_model_props(copy, {METADATA_KEY: info.to_json()})
    return bytes(copy.SerializeToString())


def _check_parity(network: Network, trial: Path, samples: Samples, count: int = 64) -> None:
    """The unfused checkpoint and the exported file must agree, one face at a time and in batches."""
    images = samples.images[:count]
    exported = OnnxClassifier(trial)
    spec = exported.info.input
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(normalised(fitted(images, spec), spec)))
    (together,) = exported.logits(images)
    (alone,) = OnnxClassifier(ClassifierOptions(trial, batch_size=1)).logits(images)
    for name, logits in expected.items():
        for found in (together[name], alone[name]):
            difference = float(np.abs(found - logits.numpy()).max())
            if not difference <= TOLERANCE:
                raise WeightsError(
                    f"the exported network differs from its checkpoint by {difference:.2g} on head '{name}', "
                    f"more than {TOLERANCE:g}",
                    hint="this is a bug in the export or in the network's fused form",
                )


def calibrated(info: ModelInfo, trial: Path, samples: Samples) -> ModelInfo:
    """The info with each head's temperature and threshold, fitted on the first protocol that reads this head.

    A protocol whose classes no head knows is passed over.
    """
    (logits,) = OnnxClassifier(trial).logits(samples.images)
    heads = {head.name: head for head in info.heads}
    for protocol in reversed(protocols_of(samples)):  # the first one stays
        try:
            head = head_for(info, protocol.classes)
        except ConfigError:
            continue
        # Dropping classes and renormalising is the same as leaving their logits out of the softmax.
        columns = [head.emotions.index(name) for name in protocol.classes]
        known = logits[head.name][protocol.kept][:, columns]
        temperature = calibration.fit_temperature(known, protocol.labels[protocol.kept])
        confidence = softmax(known, temperature).max(axis=1)
        threshold = calibration.coverage_threshold(confidence, COVERAGE)
        heads[head.name] = replace(head, temperature=round(temperature, 4), threshold=round(threshold, 4))
    return replace(info, heads=tuple(heads.values()))
