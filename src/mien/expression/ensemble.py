"""Several models that vote on every face.

Members may differ in input size, channels, crop_spec and classes. What they say is joined over the classes that were
asked for, the target:

- A member reads those of the target's classes that it knows, from the head that knows most of them; what it says is
  calibrated by its own temperature and sums to one over these. At least one member must know all of them: an ensemble
  cannot tell apart what none of its members can.
- The mean q of the members that know the whole target is the reference. Where all do, as is usual, q is the soft vote.
- A member that lacks classes abstains on them. Its probabilities are conditional, "if it is one of mine, then ...", so
  they say nothing of how likely the others are: there q stands. With u = the sum of q over the classes it lacks, it
  speaks for q on those, and for (1 - u) times its own probability on each of its own.
- Six emotions hold disgust in anger (`emotions.MERGED`). Where such a member meets a target that tells the two apart,
  its anger is their sum, which is shared between them in q's proportion.

So a class that one member alone knows gets what this one gives it: neither halved by those who cannot see it, as if
they had said no, nor blown up by renormalising. A member that knows but one class of the target adds nothing.

The soft vote is the mean of what the members say. In a hard vote each member names its top class, and the shares of
the votes are the probabilities; a member whose top class is one that it lacks, on others' authority, does not vote.
Ties go to the class with the higher mean: `TIE` of the probabilities is the soft vote.

The order of the members changes nothing, rows sum to one, and an ensemble of one softly says what its member says.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mien import emotions as vocabularies
from mien.assets.manifest import ModelInfo
from mien.errors import ConfigError
from mien.expression.base import Classifier, Images, MemberLogits
from mien.expression.classifier import USUAL, OnnxClassifier, usual_emotions

__all__ = ["TIE", "VOTES", "Ensemble", "Vote", "joined", "known_of", "load_classifier", "member_names"]

Vote = Literal["soft", "hard"]
VOTES: Final[tuple[Vote, ...]] = get_args(Vote)

# The share of the soft vote in the probabilities of a hard one: less than one vote among a hundred weighs.
TIE: Final = 1e-3


def known_of(info: ModelInfo, target: Sequence[str]) -> tuple[str, ...]:
    """The classes of the target that a model knows, by the head that knows most of them, in the target's order.

    Raises:
        ConfigError: It knows none.
    """
    known = max(
        (tuple(name for name in target if name in head.emotions) for head in info.heads),
        key=len,
    )
    if not known:
        raise ConfigError(
            f"the model '{info.name}' knows none of the classes {', '.join(target)}",
            hint=f"its own are {', '.join(info.heads[0].emotions)}; leave it out",
        )
    return known


def joined(
    said: Sequence[NDArray[np.float32]],
    known: Sequence[Sequence[str]],
    target: Sequence[str],
    vote: Vote = "soft",
) -> NDArray[np.float32]:
    """What members say, as one; the rules stand at the top of this module.

    Args:
        said: (N, K) probabilities of each member over the classes it knows, each row summing to 1.
        known: Those classes, all of them in the target.
        target: The C classes.
        vote: "soft" or "hard".

    Returns:
        (N, C) float32, each row summing to 1.

    Raises:
        ValueError: No member knows the whole target.
    """
    whole = [
        read.astype(np.float64)[:, [list(names).index(name) for name in target]]
        for read, names in zip(said, known, strict=True)
        if set(names) == set(target)
    ]
    if not whole:
        raise ValueError(f"known: expected a member that knows all of {', '.join(target)}")
    reference: NDArray[np.float64] = np.mean(whole, axis=0)  # q, (N, C)
    full = [_spread(read, names, target, reference) for read, names in zip(said, known, strict=True)]
    mean: NDArray[np.float64] = np.mean(full, axis=0)
    if vote == "hard":
        ballots = np.zeros_like(mean)
        for opinion, names in zip(full, known, strict=True):
            top = opinion.argmax(axis=1)
            able = np.asarray([_column(name, names) is not None for name in target])
            ballots[np.arange(len(top)), top] += able[top]
        shares = ballots / ballots.sum(axis=1, keepdims=True)  # who knows the whole target always votes
        mean = (1 - TIE) * shares + TIE * mean
    result: NDArray[np.float32] = (mean / mean.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def _column(name: str, known: Sequence[str]) -> int | None:
    """The place among the known classes that speaks of a class, by itself or as part of another; None if none does."""
    place = name if name in known else vocabularies.MERGED.get(name)
    return list(known).index(place) if place is not None and place in known else None


def _spread(
    said: NDArray[np.float32], known: Sequence[str], target: Sequence[str], reference: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a member says (N, K) over the whole target (N, C), the reference (N, C) standing where it abstains."""
    columns = [_column(name, known) for name in target]
    own = np.asarray([column is not None for column in columns])
    mass = reference[:, own].sum(axis=1)  # 1 - u, (N,)
    full = reference.copy()
    for column in range(len(known)):
        group = np.asarray([mine == column for mine in columns])
        part = reference[:, group]  # (N, classes that share this column)
        total = part.sum(axis=1, keepdims=True)
        shares = np.divide(part, total, out=np.full_like(part, 1 / part.shape[1]), where=total > 0)
        full[:, group] = shares * (mass * said[:, column])[:, None]
    return full


class Ensemble(Classifier):
    """Reads expressions from cropped faces by the vote of several models; a `Classifier`, as `OnnxClassifier` is.

    Args:
        members: Names of shipped models, or paths of exported ONNX files; one named twice has two votes.
        emotions: Size of the vocabulary: 6, 7, 8 or 10; or the classes by name; None for the eight where a member
            knows them, else those of the first member's first head.
        vote: "soft", the mean of the probabilities, or "hard", one vote a member.
        abstain: Top probabilities under it are `uncertain`. None for the mean of the members' own thresholds, which is
            a little strict, since a mean of opinions is less sure than each; in a hard vote for a majority: uncertain
            is what no more than half of the voters chose.
        batch_size: Faces that a network sees at once.
        threads: For each network.
        tta: How often each member looks at each face: "single", "flip" or "ten-crop".

    Raises:
        ConfigError: There is no member, no such model, vocabulary, vote or tta; no member knows all the classes, or
            one knows none of them.
        WeightsError: Weights are missing or damaged.
    """

    def __init__(
        self,
        members: Sequence[str | Path],
        *,
        emotions: int | Sequence[str] | None = None,
        vote: Vote = "soft",
        abstain: float | None = None,
        batch_size: int = 32,
        threads: int = 1,
        tta: str = "single",
    ) -> None:
        if vote not in VOTES:
            raise ConfigError(f"there is no vote '{vote}'", hint=f"choose one of {', '.join(VOTES)}")
        if not members:
            raise ConfigError("an ensemble needs members", hint="name models or .onnx files")
        opened = [
            OnnxClassifier(member, emotions=None, batch_size=batch_size, threads=threads, tta=tta) for member in members
        ]
        self.vote: Vote = vote
        self._abstain = abstain
        self.name = " + ".join(member.name for member in opened) + (" (hard vote)" if vote == "hard" else "")
        crop_specs: dict[object, ModelInfo] = {_crop_spec(member.info): member.info for member in reversed(opened)}
        self._places = [list(crop_specs).index(_crop_spec(member.info)) for member in opened]
        self.crop_specs = tuple(crop_specs.values())
        self._aim(opened, _target(opened, emotions))

    def _aim(self, opened: Sequence[OnnxClassifier], emotions: tuple[str, ...]) -> None:
        self.emotions = emotions
        self.members = tuple(member.with_classes(known_of(member.info, self.emotions)) for member in opened)
        if not any(len(member.emotions) == len(self.emotions) for member in self.members):
            told = "; ".join(f"{member.name}: {', '.join(member.emotions)}" for member in self.members)
            raise ConfigError(
                f"no member tells all of {', '.join(self.emotions)} apart",
                hint=f"they know {told}; add a member, or choose another --emotions",
            )
        own = 0.5 + TIE if self.vote == "hard" else float(np.mean([member.threshold for member in self.members]))
        self.threshold = own if self._abstain is None else self._abstain

    def with_classes(self, emotions: Sequence[str]) -> "Ensemble":
        """The same members, opened once, that vote on other classes.

        Raises:
            ConfigError: No member knows them all, or one knows none of them.
        """
        other = copy.copy(self)
        other._aim(self.members, tuple(emotions))
        return other

    def member_logits(self, images: Images) -> MemberLogits:
        """What each member's network says of faces that are framed as they are."""
        return self.member_logits_of_crops([images] * len(self.crop_specs))

    def member_logits_of_crops(self, images: Sequence[Images]) -> MemberLogits:
        """The same of faces that were cropped once for each of `crop_specs`, in their order."""
        if len(images) != len(self.crop_specs):
            raise ValueError(f"images: expected {len(self.crop_specs)} crop_specs, got {len(images)}")
        pairs = zip(self.members, self._places, strict=True)
        return [logits for member, place in pairs for logits in member.member_logits(images[place])]

    def proba_from(self, logits: MemberLogits) -> NDArray[np.float32]:
        """(N, C) float32 over `emotions`, each row summing to 1: the vote."""
        said = [member.proba_from([logits]) for member, logits in zip(self.members, logits, strict=True)]
        if len(said) == 1 and self.vote == "soft":
            return said[0]  # bit for bit
        return joined(said, [member.emotions for member in self.members], self.emotions, self.vote)


def _crop_spec(info: ModelInfo) -> object:
    """What tells one crop_spec from another."""
    return info.input.size, info.landmarks


def _target(members: Sequence[OnnxClassifier], emotions: int | Sequence[str] | None) -> tuple[str, ...]:
    if emotions is None:
        usual = [usual_emotions(member.info) for member in members]
        return USUAL if USUAL in usual else usual[0]
    return vocabularies.vocabulary(emotions) if isinstance(emotions, int) else tuple(emotions)


def member_names(given: Sequence[str]) -> list[str]:
    """The members that a user typed: several in one word by commas, or one after the other; files may have commas."""
    return [
        name.strip() for word in given for name in ([word] if Path(word).exists() else word.split(",")) if name.strip()
    ]


def load_classifier(
    model: str | Path | None = None,
    ensemble: Sequence[str | Path] = (),
    *,
    vote: str | None = None,
    emotions: int | Sequence[str] | None = None,
    abstain: float | None = None,
    batch_size: int = 32,
    threads: int = 1,
    tta: str = "single",
) -> Classifier:
    """One model, or the ensemble of several.

    Args:
        model: Name of a shipped model, or path of an exported ONNX file; None for the default.
        ensemble: Members instead, as for `Ensemble`.
        vote: Of the ensemble, "soft" or "hard"; None for soft.
        emotions: As for `Ensemble`.
        abstain: Likewise.
        batch_size: Likewise.
        threads: Likewise.
        tta: Likewise.

    Raises:
        ConfigError: As `Ensemble`; both a model and an ensemble are given, or a vote without an ensemble.
        WeightsError: Weights are missing or damaged.
    """
    if isinstance(ensemble, (str, Path)):
        raise TypeError(f"ensemble: expected a list of models, got {ensemble!r}")
    if ensemble and model is not None:
        raise ConfigError("a model and an ensemble are two ways to read", hint="name the model among the members")
    if vote is not None and not ensemble:
        raise ConfigError(f"the vote '{vote}' is of an ensemble, and there is none", hint="name its members")
    if ensemble:
        return Ensemble(
            ensemble,
            emotions=emotions,
            vote=cast(Vote, vote or "soft"),
            abstain=abstain,
            batch_size=batch_size,
            threads=threads,
            tta=tta,
        )
    one = OnnxClassifier(model, emotions=emotions, abstain=abstain, batch_size=batch_size, threads=threads, tta=tta)
    return one if emotions is not None else one.with_classes(usual_emotions(one.info))
