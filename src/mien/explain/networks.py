"""The network to explain: its ONNX file for the probabilities, its training form for gradients and inner layers.

A shipped model has both. An exported file has its training form beside it (.safetensors); a run has it in its
checkpoints. Of an ONNX file alone only the outputs are known: methods that need no gradients still work.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from mien import models
from mien.assets.manifest import InputSpec, ModelInfo, default_model, model_info, shipped_models
from mien.assets.recognise import recognise, run_and_checkpoint
from mien.assets.session import Session
from mien.errors import ConfigError, WeightsError
from mien.expression.base import ClassifierOptions, Images, Logits
from mien.expression.classifier import OnnxClassifier
from mien.expression.observation import Observation, observed
from mien.models import Network
from mien.training import ExpressionRecipe
from mien.training.checkpoints import load_module
from mien.training.expression.export import network_info
from mien.training.expression.module import ExpressionModule
from mien.training.recipe import load as load_recipe
from mien.training.weights import Source, load_source

_NO_IMAGES: Final = InputSpec(48, "grey", (0.5,), (0.25,))  # for networks that read keypoints alone, which ignore it


class KeepingClassifier(OnnxClassifier):
    """A classifier that keeps the faces it was last asked about, as the network reads them.

    Attributes:
        kept: The faces: crops, with keypoints or several frames if the network reads them.
    """

    kept: Sequence[Observation] = ()

    def logits(self, *faces: Images) -> Logits:
        """See `Classifier.logits`."""
        self.kept = [observed(face) for face in faces[0]]
        return super().logits(*faces)

    def run(self, *arrays: NDArray[np.float32], outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The outputs of the network for arrays of `inputs`."""
        return self._session.run(*arrays, outputs=outputs)


class TorchSession:
    """Runs a network of `mien.models` as a `Session` runs an ONNX file.

    Args:
        network: In evaluation mode.
        info: Its description.
    """

    def __init__(self, network: Network, info: ModelInfo) -> None:
        self.network, self.info = network, info

    def run(self, *arrays: NDArray[np.float32], outputs: Sequence[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """The outputs by name; see `Session.run`."""
        with torch.no_grad():
            features = self.network.features(*map(torch.from_numpy, arrays))
            found = self.network.classify(features)
        if self.info.features is not None:
            found[self.info.features.name] = features
        return {name: value.numpy() for name, value in found.items() if outputs is None or name in outputs}


@dataclass(frozen=True, eq=False)
class ExplainedModel:
    """A model that can be explained.

    Attributes:
        classifier: Gives the probabilities, as in `mien analyze`.
        network: The training form, fused and in evaluation mode; None if it is not known.
        architecture: Its name; empty if it is not known.
        missing: Why there is no network, and what to do.
        notes: What the user may not expect.
    """

    classifier: KeepingClassifier
    network: Network | None
    architecture: str = ""
    missing: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)

    def need_network(self) -> Network:
        """The training form.

        Raises:
            ConfigError: It is not known.
        """
        if self.network is None:
            raise ConfigError(f"the inside of '{self.classifier.name}' is not known: {self.missing}")
        return self.network

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        """Inputs of the network -> logits (N, classes) of the classifier's head; with gradients if there is a network.

        Args:
            arrays: One for each input, in order.
        """
        name = self.classifier.head.name
        if self.network is not None:
            found: torch.Tensor = self.network(*arrays)[name]
            return found
        values = [each.detach().numpy() for each in arrays]
        return torch.from_numpy(self.classifier.run(*values, outputs=[name])[name])

    def probabilities(self, logits: torch.Tensor) -> NDArray[np.float32]:
        """Logits (N, classes) of the head -> the classifier's probabilities (N, C)."""
        return self.classifier.proba_from([{self.classifier.head.name: logits.detach().numpy()}])


def load(options: ClassifierOptions) -> ExplainedModel:
    """Loads the model of some options: a shipped one, an .onnx or .safetensors file, a run or a checkpoint of it.

    Raises:
        ConfigError: There is no such model, or several are given.
        WeightsError: Its weights are missing or damaged.
    """
    chosen = options.models
    if len(chosen) > 1:
        raise ConfigError(
            f"expected one model, got {len(chosen)}: {', '.join(map(str, chosen))}", hint="explain one at a time"
        )
    name = str(chosen[0]) if chosen else default_model()
    if name in shipped_models():
        info = model_info(name, "expression")
        network = _network(info, load_source(_full_form(info))) if info.training_file else None
        classifier = KeepingClassifier(replace(options, model=name))
        notes = []
        if not chosen:
            notes.append(f"'{name}' is explained alone; without --model, `mien analyze` lets two networks vote")
        if network is not None and info.form == "int8":
            notes.append(f"gradients come from the full form of '{name}'")
        return _explained(classifier, network, info, "its training form does not ship", notes)
    kind = recognise(name).kind
    if kind in ("run", "checkpoint"):
        return _from_run(Path(name), options)
    if kind == "safetensors":
        found = load_source(name)
        if found.info is None:
            raise WeightsError(f"{name}: has no description of its network", hint="export the run again")
        network = _network(found.info, found)
        return explained(network, found.info, options)
    classifier = KeepingClassifier(options)
    beside = Path(name).with_suffix(".safetensors")
    if not beside.is_file():
        missing = f"there is no {beside}, which `mien export` writes"
        if classifier.info.form == "int8":
            missing = "an int8 form has none; give the .onnx file that it was made of"
        return _explained(classifier, None, classifier.info, missing)
    network = _network(classifier.info, load_source(str(beside)))
    return _explained(classifier, network, classifier.info)


def _explained(
    classifier: KeepingClassifier,
    network: Network | None,
    info: ModelInfo,
    missing: str = "",
    notes: Sequence[str] = (),
) -> ExplainedModel:
    architecture = str(info.architecture.get("name", ""))
    return ExplainedModel(classifier, network, architecture, missing if network is None else "", tuple(notes))


def _full_form(info: ModelInfo) -> str:
    """The shipped model that has the same training form and is not quantised."""
    same = (name for name, each in shipped_models().items() if each.training_file == info.training_file)
    return next(same, info.name)


def _network(info: ModelInfo, source: Source) -> Network:
    """The network of a description, with the weights of a source, fused.

    Raises:
        WeightsError: The weights belong to another network.
    """
    options = dict(info.architecture)
    name = options.pop("name", "")
    if name not in models.names():
        raise WeightsError(f"the model '{info.name}' does not name its architecture", hint="export the run again")
    spec = info.input if models.reads_images(name) else _NO_IMAGES
    network = models.build(name, {head: len(classes) for head, classes in source.classes.items()}, spec, **options)
    try:
        network.load_state_dict(source.weights)
    except RuntimeError as error:
        raise WeightsError(
            f"the training form of '{info.name}' belongs to another network", hint="export the run again"
        ) from error
    return network.fused()


def _from_run(path: Path, options: ClassifierOptions) -> ExplainedModel:
    """The model of a run."""
    folder, checkpoint = run_and_checkpoint(path)
    recipe = load_recipe(folder / "recipe.toml", form=ExpressionRecipe)
    module = load_module(ExpressionModule, folder / f"{checkpoint or 'best'}.ckpt")
    network = module.network.float().fused()
    found = explained(network, network_info(recipe, module.classes, network.width), options)
    return replace(found, notes=("the probabilities are not calibrated: a run has no temperature; export it",))


def explained(network: Network, info: ModelInfo, options: ClassifierOptions | None = None) -> ExplainedModel:
    """A network in evaluation mode and its description as a model that can be explained."""
    return _explained(_torch_classifier(network, info, options or ClassifierOptions()), network, info)


def _torch_classifier(network: Network, info: ModelInfo, options: ClassifierOptions) -> KeepingClassifier:
    session = cast(Session, TorchSession(network, info))
    return KeepingClassifier(replace(options, model=None), opened=(info, session))
