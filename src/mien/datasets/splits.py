"""The splits of a data set: what their names mean, and how images of train are divided among them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Final

from mien.errors import ConfigError

SHARE: Final = 0.1  # default of val and test

# Names of splits in folders and columns, in lower case without other characters than letters. "PublicTest" and
# "PrivateTest" are those of FER2013's authors.
_NAMES: Final = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev", "publictest"),
    "test": ("test", "testing", "eval", "privatetest"),
}
# What published names append: train_set, test_images.
_APPENDED: Final = re.compile(r"(set|data|images?|imgs?|faces|split)$")


def check_shares(val: float | None, test: float | None) -> None:
    """Refuses shares of the splits that are not given as they must be; None is the default.

    Raises:
        ConfigError: A share is outside 0-1.
    """
    for name, share in {"val": val, "test": test}.items():
        if share is not None and not 0 <= share < 1:
            raise ConfigError(f"{name}: expected a share from 0 to below 1, got {share}", hint="for example 0.1")


def split_of(name: str) -> str | None:
    """The split ("train", "val", "test") that a name means, such as "Training", "VALID" or "test_set"; or None."""
    letters = re.sub(r"[\W\d_]+", "", name.lower())
    for text in (letters, _APPENDED.sub("", letters)):
        for split, names in _NAMES.items():
            if text in names:
                return split
    return None


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """Which images of train go to val and test, if these do not exist in the source.

    Raises:
        ConfigError: A share is outside 0-1.
    """

    val: Annotated[
        float | None, "Share of each class for val; by default 0.1, or 0 for a CSV file with the column Usage."
    ] = None
    test: Annotated[float | None, "Share of each class for test; by default 0.1, or 0 if the data has splits."] = None
    seed: Annotated[int, "Seed of the random split."] = 0

    def __post_init__(self) -> None:
        check_shares(self.val, self.test)

    def shares(self, present: Collection[str], *, val: float, test: float) -> dict[str, float]:
        """The share of each class that goes from train to val and to test.

        Args:
            present: The splits that the source has; empty if it has none, and everything is train.
            val: Share of val if the option is not given.
            test: The same of test.

        Raises:
            ConfigError: A split that exists has a share as well, there is no train, or nothing is left for it.
        """
        shares = {}
        for split, default in {"val": val, "test": test}.items():
            share: float | None = getattr(self, split)
            if share is not None and split in present:
                raise ConfigError(f"--{split}: the data already has a split '{split}'", hint="use only one of the two")
            if share is not None and present and "train" not in present:
                raise ConfigError(
                    f"--{split}: takes images from train, and the data has only {', '.join(present)}",
                    hint=f"leave out --{split}",
                )
            shares[split] = 0.0 if split in present else default if share is None else share
        if sum(shares.values()) >= 1:
            raise ConfigError(
                "--val and --test together leave no images for train", hint="for example --val 0.1 --test 0.1"
            )
        return shares
