"""Several models that vote on every face.

The members may differ in input size, channels, crop spec and classes. Their probabilities are combined over the
requested classes, the target:

- A member classifies those classes of the target that it knows, with the head that knows most of them. Its
  probabilities are calibrated by its own temperature and sum to one over these classes. At least one member must know
  the whole target: an ensemble cannot tell apart what none of its members can.
- The mean q of the members that know the whole target is the reference. If all members do, q is the soft vote.
- A member abstains on the classes that it does not know. Its probabilities are conditional ("if it is one of my
  classes, then ..."), so they contain nothing about the other classes: for these q is used. Let u be the sum of q over
  the classes that the member does not know: its distribution is q on these classes, and (1 - u) times its own
  probability on each class that it knows.
- Six emotions include disgust in anger (`emotions.MERGED`). If such a member meets a target that separates the two, its
  anger is their sum, and is divided between them in the proportion of q.

So a class that only one member knows gets the probability from this member: the others neither halve it, as if they had
given it 0, nor does renormalising enlarge it. A member that knows only one class of the target changes nothing.

The soft vote is the mean of the members' distributions. In a hard vote each member votes for its most probable class,
and the probabilities are the shares of the votes; a member whose most probable class is one that it does not know does
not vote. A tie goes to the class with the higher mean: the soft vote has a share of `TIE` in the probabilities.

A prior (`mien.expression.prior`) applies to each member, whose training data may have had other class shares.

The order of the members does not matter, each row sums to one, and the soft vote of one member is that member's result.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.manifest import CropSpec, ModelInfo, ensemble_name
from mien.errors import ConfigError
from mien.expression import affect
from mien.expression.base import Classifier, ClassifierSource, Emotions, Images, Logits, Vote, as_options
from mien.expression.classifier import OnnxClassifier, classes_of

# The share of the soft vote in the probabilities of a hard vote: less than the weight of one vote among a hundred.
TIE: Final = 1e-3


def known_of(info: ModelInfo, target: Sequence[str]) -> tuple[str, ...]:
    """The classes of the target that a model's best head knows, in the order of the target.

    Raises:
        ConfigError: The model knows none of them.
    """
    known = max((tuple(name for name in target if name in head.emotions) for head in info.heads), key=len)
    if not known:
        raise ConfigError(
            f"the model '{info.name}' knows none of the classes {', '.join(target)}",
            hint=f"it knows {', '.join(info.heads[0].emotions)}; leave it out of the ensemble",
        )
    return known


def combined(
    opinions: Sequence[NDArray[np.float32]], known: Sequence[Sequence[str]], target: Sequence[str], vote: Vote = "soft"
) -> NDArray[np.float32]:
    """The vote of several members, by the rules at the top of this module.

    Args:
        opinions: For each member, the probabilities (N, K) of the classes that it knows, each row summing to 1.
        known: For each member these K classes, all of them in the target.
        target: The C classes.
        vote: "soft" or "hard".

    Returns:
        (N, C) float32, each row summing to 1.

    Raises:
        ValueError: No member knows the whole target.
    """
    whole = [
        opinion.astype(np.float64)[:, [list(names).index(name) for name in target]]
        for opinion, names in zip(opinions, known, strict=True)
        if set(names) == set(target)
    ]
    if not whole:
        raise ValueError(f"known: expected a member that knows all of {', '.join(target)}")
    reference: NDArray[np.float64] = np.mean(whole, axis=0)  # q, (N, C)
    full = [_completed(opinion, names, target, reference) for opinion, names in zip(opinions, known, strict=True)]
    mean: NDArray[np.float64] = np.mean(full, axis=0)
    if vote == "hard":
        ballots = np.zeros_like(mean)
        for opinion, names in zip(full, known, strict=True):
            top = opinion.argmax(axis=1)
            able = np.asarray([_column(name, names) is not None for name in target])
            ballots[np.arange(len(top)), top] += able[top]
        shares = ballots / ballots.sum(axis=1, keepdims=True)  # a member that knows the whole target always votes
        mean = (1 - TIE) * shares + TIE * mean
    result: NDArray[np.float32] = (mean / mean.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _column(name: str, known: Sequence[str]) -> int | None:
    """The index of the known class that is a class or includes it; None if there is none."""
    place = name if name in known else vocabularies.MERGED.get(name)
    return list(known).index(place) if place is not None and place in known else None


def _completed(
    opinion: NDArray[np.float32], known: Sequence[str], target: Sequence[str], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A member's probabilities (N, K) over the whole target (N, C), with the reference (N, C) where it abstains."""
    columns = [_column(name, known) for name in target]
    own = np.asarray([column is not None for column in columns])
    mass = reference[:, own].sum(axis=1)  # 1 - u, (N,)
    full = reference.copy()
    for column in range(len(known)):
        group = np.asarray([mine == column for mine in columns])
        part = reference[:, group]  # (N, classes that share this column)
        total = part.sum(axis=1, keepdims=True)
        shares = np.divide(part, total, out=np.full_like(part, 1 / part.shape[1]), where=total > 0)
        full[:, group] = shares * (mass * opinion[:, column])[:, None]
    return full


class Ensemble(Classifier):
    """Classifies cropped faces by the vote of several models.

    Args:
        source: Options, or the models: names of shipped models or paths of exported ONNX files; none for the default. A
            model that is named twice has two votes. Without `abstain`, a result is uncertain in a soft vote below the
            mean of the members' thresholds, which is a little strict because a mean is less confident than its members;
            in a hard vote if the class does not have a majority.

    Raises:
        ConfigError: There is no such model; no member knows all the emotions, or a member knows none of them.
        WeightsError: Weights are missing or damaged.
    """

    def __init__(self, source: ClassifierSource) -> None:
        options = as_options(source)
        self.vote: Vote = options.vote or "soft"
        self._abstain = options.abstain
        alone = replace(options, vote=None, abstain=None, emotions="model", affect_table=None)
        # Shares of one's own are of the classes of the answer, not of those of each member: they come with the classes.
        members = [OnnxClassifier(replace(alone, model=model, prior=None)) for model in options.members]
        self._prior = options.prior
        name = ensemble_name(options.members) or " + ".join(member.name for member in members)
        self.name = name + (" (hard vote)" if self.vote == "hard" else "")
        self.input_size = members[0].input_size
        self.frames = max(member.frames for member in members)
        schemes = [member.keypoint_scheme for member in members if member.keypoint_scheme]
        self.keypoint_scheme = schemes[0] if schemes else None
        self.tta = options.tta
        self.affect_table = affect.loaded(options.affect_table)  # type: ignore[arg-type]  # a mapping became rows
        self._aim(members, classes_of(options.emotions, [member.info for member in members]))

    def _aim(self, members: Sequence[OnnxClassifier], emotions: tuple[str, ...]) -> None:
        self.emotions = emotions
        self.members = tuple(
            member.aimed_at(known_of(member.info, emotions), replace(member.options, prior=self._prior))
            for member in members
        )
        self.prior = self.members[0].prior
        if not any(len(member.emotions) == len(emotions) for member in self.members):
            known = "; ".join(f"{member.name}: {', '.join(member.emotions)}" for member in self.members)
            raise ConfigError(
                f"no member of the ensemble knows all of {', '.join(emotions)}",
                hint=f"they know {known}; add a member, or choose another --emotions",
            )
        own = 0.5 + TIE if self.vote == "hard" else float(np.mean([member.threshold for member in self.members]))
        affect.coordinates(emotions, self.affect_table)  # refuses a table that lacks a class
        self.threshold = own if self._abstain is None else self._abstain

    @property
    def assumed_shares(self) -> NDArray[np.float64] | None:
        """See `Classifier.assumed_shares`; those of the first member that knows all classes."""
        return next(member for member in self.members if len(member.emotions) == len(self.emotions)).assumed_shares

    @cached_property
    def _crops(self) -> tuple[tuple[CropSpec, ...], tuple[int, ...]]:
        """The different crop specs, and the index of each member's; a member that reads no images takes the first.

        A crop in colour also serves the members that read the same in grey.
        """
        specs: dict[tuple[int, bytes], CropSpec] = {}
        keys: list[tuple[int, bytes] | None] = []
        for member in self.members:
            for spec in member.crop_specs:
                key = spec.size, spec.points.tobytes()
                keys.append(key)
                specs[key] = specs.get(key, spec) if spec.grey else spec
            if not member.crop_specs:
                keys.append(None)
        return tuple(specs.values()), tuple(0 if key is None else list(specs).index(key) for key in keys)

    @property
    def crop_specs(self) -> tuple[CropSpec, ...]:
        """See `Classifier.crop_specs`."""
        return self._crops[0]

    def with_classes(self, emotions: Emotions | Sequence[str]) -> "Ensemble":
        """See `Classifier.with_classes`."""
        other = copy.copy(self)
        other._aim(self.members, classes_of(emotions, [member.info for member in self.members]))
        return other

    def _for_members(self, faces: Sequence[Images]) -> list[Images]:
        """The crops for each member."""
        if len(faces) == 1:
            return [faces[0]] * len(self.members)
        specs, places = self._crops
        if len(faces) != len(specs):
            raise ValueError(f"faces: expected crops for each of {len(specs)} crop specs, or one, got {len(faces)}")
        return [faces[place] for place in places]

    def logits(self, *faces: Images) -> Logits:
        """See `Classifier.logits`."""
        pairs = zip(self.members, self._for_members(faces), strict=True)
        return [by_head for member, images in pairs for by_head in member.logits(images)]

    def proba_from(self, logits: Logits) -> NDArray[np.float32]:
        """See `Classifier.proba_from`; the vote."""
        opinions = [member.proba_from([by_head]) for member, by_head in zip(self.members, logits, strict=True)]
        if len(opinions) == 1 and self.vote == "soft":
            return opinions[0]  # bit for bit
        return combined(opinions, [member.emotions for member in self.members], self.emotions, self.vote)

    def affect_from(self, logits: Logits) -> NDArray[np.float32] | None:
        """See `Classifier.affect_from`; the mean of the members that predict them."""
        if self.affect_table is not None:
            return None
        found = [member.affect_from([by_head]) for member, by_head in zip(self.members, logits, strict=True)]
        predicted = [values for values in found if values is not None]
        return np.mean(predicted, axis=0, dtype=np.float32) if predicted else None

    def features(self, *faces: Images) -> NDArray[np.float32]:
        """See `Classifier.features`; those of all members, one after the other."""
        pairs = zip(self.members, self._for_members(faces), strict=True)
        return np.concatenate([member.features(images) for member, images in pairs], axis=1)


def load_classifier(source: ClassifierSource = None) -> Classifier:
    """Loads one model, or the ensemble of several.

    Args:
        source: Options, or the model: None for the default; a name or a path; "A,B" or a sequence for an ensemble.

    Raises:
        ConfigError: There is no such model, it does not know the emotions, or a vote is set for one model.
        WeightsError: Weights are missing or damaged.
    """
    options = as_options(source)
    if len(options.models) != 1:
        return Ensemble(options)
    if options.vote is not None:
        raise ConfigError("--vote needs several models", hint="name them: --model A,B")
    return OnnxClassifier(options)
