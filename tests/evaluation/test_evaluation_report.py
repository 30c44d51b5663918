"""The scores as text: one golden text, and properties of any."""

from dataclasses import replace

import numpy as np

from mien.emotions import vocabulary
from mien.evaluation.calibration import CalibrationBins
from mien.evaluation.intervals import Estimate, Resampling, wilson
from mien.evaluation.report.text import text
from mien.evaluation.score import ClassRow, RareClass, Scores, compute_scores

UNDEFINED = Estimate(np.nan, np.nan, np.nan)
ONE = np.ones(1)

# Written by hand, not computed, so that the golden text does not change with the random numbers of numpy.
SCORES = Scores(
    protocol="FER+ majority",
    classes=("anger", "surprise", "contempt"),
    n=1202,
    dropped=390,
    voted=1200,
    accuracy=Estimate(0.9975, 0.99, 1.0),
    macro_f1=Estimate(0.684, 0.669, 0.699),
    mean_recall=Estimate(0.996, 0.985, 1.0),
    mean_recall_of_seven=Estimate(0.5, 0.45, 0.55),
    selective=Estimate(1.0, 0.999, 1.0),
    nll=Estimate(0.4321, 0.41, 0.45),
    calibration_error=Estimate(0.031, 0.025, 0.038),
    perfect_error=Estimate(0.02, 0.014, 0.027),
    excess_error=Estimate(0.011, 0.005, 0.018),
    cross_entropy=Estimate(0.8, 0.79, 0.81),
    jensen_shannon=Estimate(0.05, 0.04, 0.06),
    human=Estimate(0.1, 0.09, 0.11),
    rows=(
        ClassRow("anger", 1002, 1000, *[Estimate(0.9, 0.85, 0.95)] * 3),
        ClassRow("surprise", 200, 202, *[Estimate(0.985, 0.97, 1.0)] * 3),
        ClassRow("contempt", 0, 0, *[UNDEFINED] * 3),
    ),
    confusion=np.array([[999, 3, 0], [1, 199, 0], [0, 0, 0]]),
    bins=CalibrationBins(ONE, ONE, ONE, ONE, np.ones(1, np.int64)),
    rare=(RareClass("surprise", 13, 4, wilson(4, 13)),),
    assumed_error=Estimate(0.012, 0.0, 0.03),
)

GOLDEN = """\
FER+ majority: 1,202 faces, 390 excluded by the protocol
========================================================

accuracy                       99.8% (99.0-100.0)
macro F1                       68.4% (66.9-69.9)
mean recall                    99.6% (98.5-100.0)
  without contempt             50.0% (45.0-55.0)    of the seven emotions of FER2013
selective accuracy             100.0% (99.9-100.0)  on the 80% of faces with the highest confidence
negative log-likelihood        0.432 (0.410-0.450)  nats
cross-entropy to the votes     0.800 (0.790-0.810)  nats, 1,200 faces with votes
Jensen-Shannon to the votes    0.050 (0.040-0.060)  nats, 1,200 faces with votes
  between halves of the votes  0.100 (0.090-0.110)  nats, annotators among themselves
calibration error              3.1% (2.5-3.8)       15 bins of equal mass
  by chance                    2.0% (1.4-2.7)       of a perfectly calibrated model
  above chance                 1.1% (0.5-1.8)
  at assumed shares            1.2% (0.0-3.0)       above chance; classes weighted by the prior

class     faces  predicted           precision              recall                  F1
anger     1,002      1,000   90.0% (85.0-95.0)   90.0% (85.0-95.0)   90.0% (85.0-95.0)
surprise    200        202  98.5% (97.0-100.0)  98.5% (97.0-100.0)  98.5% (97.0-100.0)
contempt      0          0                   -                   -                   -

class with few faces  faces  found             recall
surprise                 13      4  30.8% (12.7-57.6)

Confusion in % of the true class (row: true class, column: predicted class)

           ang    sur   con
anger     [>99]    <1     .
surprise    <1   [>99]    .
contempt     -      -    [-]

Confusion in faces

           ang    sur   con
anger     [999]     3     .
surprise     1   [199]    .
contempt     .      .    [.]

In brackets: 95% intervals, bootstrapped, or Wilson's for few faces. Macro F1 and mean recall: over
the classes that occur in the labels.
"""


def test_golden_text() -> None:
    assert text(SCORES) == GOLDEN


def test_lines_without_votes_and_without_dropped_faces() -> None:
    written = text(replace(SCORES, cross_entropy=None, jensen_shannon=None, human=None, voted=0, dropped=0))
    assert "votes" not in written
    assert written.startswith("FER+ majority: 1,202 faces\n==========================\n")


def test_any_report_is_plain_ascii_of_at_most_100_columns() -> None:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(10), size=30_000)
    labels = random.integers(10, size=30_000)
    for size in (6, 7, 8, 10):
        known = labels < size
        part = probabilities[known, :size]
        part = part / part.sum(axis=1, keepdims=True)
        written = text(
            compute_scores(part, labels[known], vocabulary(size), protocol="FER+ majority", how=Resampling(5))
        )
        assert written.isascii()
        assert "\x1b" not in written
        assert all(len(line) <= 100 and line == line.rstrip() for line in written.splitlines())
        heading = written.split("Confusion in faces\n\n")[1].splitlines()[0].split()
        assert len(set(heading)) == size


def test_short_names_grow_until_they_differ() -> None:
    scores = replace(SCORES, classes=("surprise", "surrender", "anger"))
    heading = text(scores).split("Confusion in faces\n\n")[1].splitlines()[0].split()
    assert heading == ["surp", "surr", "ange"]
