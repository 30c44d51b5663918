"""The predictions of an evaluation as a CSV file: a row for each face and protocol, for tests of one's own."""

import csv
from collections.abc import Iterator
from typing import IO, Final

from mien.datasets import Samples
from mien.evaluation.predict import Evaluation
from mien.names import to_cell

# What each row has before the probabilities.
COLUMNS: Final = (
    "protocol", "row", "name", "subject", "truth", "predicted", "confidence", "correct", "uncertain",
)  # fmt: skip
_DECIMALS: Final = 6


def write_predictions(file: IO[str], evaluation: Evaluation, samples: Samples) -> int:
    """Writes the predictions of a model.

    The columns are those of `COLUMNS`, and one for each emotion with its probability, which is empty where the protocol
    does not have it. `row` is the number of the face among those of its split, from 0, the same in every evaluation of
    a store; `subject` is empty if the store knows no persons.

    Args:
        file: An open text file.
        evaluation: What `evaluate_model` returned.
        samples: The faces that it was given.

    Returns:
        The number of rows, without the header.
    """
    classes = list(dict.fromkeys(name for found in evaluation.predictions.values() for name in found.classes))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *classes])
    count = 0
    for row in _rows(evaluation, samples, classes):
        writer.writerow(row)
        count += 1
    return count


def _rows(evaluation: Evaluation, samples: Samples, classes: list[str]) -> Iterator[list[object]]:
    for protocol, found in evaluation.predictions.items():
        predicted = found.probabilities.argmax(axis=1)
        faces = zip(found.rows.tolist(), found.labels.tolist(), predicted.tolist(), strict=True)
        for place, (row, label, guess) in enumerate(faces):
            confidence = float(found.probabilities[place, guess])
            shown = dict(zip(found.classes, found.probabilities[place].tolist(), strict=True))
            yield [
                protocol,
                row,
                to_cell(str(samples.names[row])),
                "" if samples.subjects is None else to_cell(str(samples.subjects[row])),
                found.classes[label],
                found.classes[guess],
                round(confidence, _DECIMALS),
                str(guess == label).lower(),
                str(confidence < found.threshold).lower(),
                *(round(shown[name], _DECIMALS) if name in shown else "" for name in classes),
            ]
