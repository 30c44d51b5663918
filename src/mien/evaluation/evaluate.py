"""Judges a model on samples, under every protocol that both allow, through the code that users run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mien import emotions
from mien.datasets import Samples
from mien.errors import ConfigError
from mien.evaluation.judge import Judgement, judge
from mien.evaluation.protocols import Protocol, protocols_of
from mien.expression import Classifier

__all__ = ["Evaluation", "evaluate_model"]

# What the splits of FER2013 are called in print.
_PRINTED = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}


@dataclass(frozen=True)
class Evaluation:
    """What was found of one model.

    Attributes:
        model: Its name.
        split: "train", "val" or "test".
        judgements: By protocol's name.
    """

    model: str
    split: str
    judgements: dict[str, Judgement]

    def as_dict(self) -> dict[str, object]:
        """Plain types, as written to JSON."""
        found = {name: judgement.as_dict() for name, judgement in self.judgements.items()}
        return {"model": self.model, "split": self.split, "protocols": found}

    def headline(self) -> dict[str, object]:
        """The figures that travel with the weights."""
        return {
            f"{self.split}_{name}": {
                "protocol": judgement.protocol,
                "faces": judgement.n,
                "accuracy": round(judgement.accuracy.value, 4),
                "macro_f1": round(judgement.macro_f1.value, 4),
                "calibration_error": round(judgement.calibration_error.value, 4),
                "perfect_calibration_error": round(judgement.perfect_error.value, 4),
            }
            for name, judgement in self.judgements.items()
        }


def evaluate_model(
    model: str | Path | None, samples: Samples, *, split: str, protocols: Sequence[str] | None = None
) -> Evaluation:
    """Judges a shipped or exported model on the pictures as they are: single view, no detector.

    Args:
        model: A name, the path of an ONNX file, or None for the default.
        samples: One split.
        split: Its name, for print.
        protocols: Names; None for all that data and model allow.

    Raises:
        ConfigError: A protocol is none that the data and the model allow.
        WeightsError: The weights are missing or damaged.
    """
    chosen = _chosen(samples, protocols)
    judgements = {}
    for protocol in chosen:
        try:
            judgements[protocol.name] = _judged(model, samples, protocol, _printed(samples, split))
        except ConfigError:
            if protocols:
                raise
    if not judgements:
        raise ConfigError(
            f"the model has no head for the data's classes: {', '.join(samples.classes)}",
            hint="choose another --model, or build the data with other --emotions",
        )
    name = Classifier(model, emotions=None).entry.name
    return Evaluation(name, split, judgements)


def _chosen(samples: Samples, names: Sequence[str] | None) -> list[Protocol]:
    possible = {protocol.name: protocol for protocol in protocols_of(samples)}
    if unknown := [name for name in names or () if name not in possible]:
        raise ConfigError(
            f"the data allows no protocol {', '.join(unknown)}", hint=f"possible here: {', '.join(possible)}"
        )
    return [possible[name] for name in names or possible]


def _judged(model: str | Path | None, samples: Samples, protocol: Protocol, printed: str) -> Judgement:
    classifier = Classifier(model, emotions=protocol.classes)
    probabilities = classifier.probabilities(samples.images[protocol.kept])
    votes = None
    if samples.votes is not None and set(protocol.classes) <= set(emotions.ALL):
        columns = [emotions.ALL.index(name) for name in protocol.classes]
        votes = samples.votes[protocol.kept][:, columns]
    return judge(
        probabilities,
        protocol.labels[protocol.kept],
        protocol.classes,
        protocol=f"{protocol.title}, {printed}, single view, {classifier.entry.name}",
        votes=votes,
        dropped=int((~protocol.kept).sum()),
    )


def _printed(samples: Samples, split: str) -> str:
    return _PRINTED[split] if samples.about.get("data_set") == "fer2013" else split
