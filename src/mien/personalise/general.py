"""The general set: what a model sees of faces of many people, kept beside it so that personalising forgets nothing.

It holds, of the faces of FER2013's PublicTest, the features of the network in half precision, the labels, four
statistics of the image and the mean power spectrum of all images; and of the training faces the mean of the features
for each class and their covariance. From these a face cannot be reconstructed. The file is an .npz without pickled
objects; its hash is in the manifest.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import FOLDER, ModelInfo
from mien.datasets import Samples
from mien.datasets.samples import NO_LABEL
from mien.errors import WeightsError

if TYPE_CHECKING:
    from mien.expression.classifier import OnnxClassifier

STATISTICS: Final = 4
SMALL: Final = 1e-3  # added to measures before their logarithm; also in the graph of a personalised file


@dataclass(frozen=True, slots=True, eq=False)
class GeneralSet:
    """Faces of many people, as one network sees them.

    Attributes:
        features: (N, F) float32 of the held-out faces.
        statistics: (N, STATISTICS) float32 of their images, see `statistics_of`.
        labels: (N,) indices into `classes`.
        classes: The names of the classes.
        means: (C, F) float32 mean features of the training faces of each class; nan for a class without faces.
        covariance: (F, F) float32 covariance of the training faces around the means of their classes.
        spectrum: (S,) float32 mean power spectrum of the images of the held-out faces, see `spectrum_of`.
    """

    features: NDArray[np.float32]
    statistics: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    means: NDArray[np.float32]
    covariance: NDArray[np.float32]
    spectrum: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The content of the file, in half precision; the covariance as its upper triangle."""
        stream = io.BytesIO()
        upper = np.triu_indices(len(self.covariance))
        np.savez_compressed(
            stream,
            features=self.features.astype(np.float16),
            statistics=self.statistics.astype(np.float16),
            labels=self.labels.astype(np.uint8),
            classes=np.array(self.classes),
            means=self.means.astype(np.float16),
            covariance=self.covariance[upper].astype(np.float16),
            spectrum=self.spectrum,
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, origin: str) -> "GeneralSet":
        """The set of a file.

        Raises:
            WeightsError: The file is damaged, or something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                means = file["means"].astype(np.float32)
                covariance = np.zeros((means.shape[1],) * 2, np.float32)
                covariance[np.triu_indices(means.shape[1])] = file["covariance"]
                return cls(
                    features=file["features"].astype(np.float32),
                    statistics=file["statistics"].astype(np.float32),
                    labels=file["labels"].astype(np.int64),
                    classes=tuple(file["classes"].tolist()),
                    means=means,
                    covariance=covariance + np.triu(covariance, 1).T,
                    spectrum=file["spectrum"],
                )
        except (ValueError, KeyError, OSError, EOFError, IndexError) as error:
            raise WeightsError(f"{origin}: is not a general set: {error}", hint="install mien again") from error


def shipped_general(info: ModelInfo) -> GeneralSet | None:
    """The general set that ships with a model; None without one.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    from mien.assets.store import verified  # late: it loads onnxruntime, and the command line needs the options alone

    if not info.general_file:
        return None
    return GeneralSet.from_bytes(verified(FOLDER / info.general_file, info.general_sha256), info.general_file)


def make_general(
    classifier: "OnnxClassifier", samples: Samples, faces: int | None = None, training_faces: int | None = None
) -> GeneralSet:
    """The general set of a network.

    Args:
        classifier: The network.
        samples: Faces with labels; those of the split val are held out, those of train give means and covariance. If
            there is no split train, the held-out faces give them.
        faces: Largest number of held-out faces; evenly spaced ones are taken. None for all.
        training_faces: The same of the training faces.
    """
    known = samples.subset(samples.labels != NO_LABEL)
    held = _spaced(known.only("val"), faces)
    features = classifier.features(held.images)
    training = _spaced(known.subset((known.split == 0) & ~known.duplicate), training_faces)
    source, labels = features, held.labels
    if len(training):
        source, labels = classifier.features(training.images), training.labels
    means = np.full((len(known.classes), features.shape[1]), np.nan, np.float32)
    around = np.zeros_like(source)
    for label in np.unique(labels):
        rows = labels == label
        means[label] = source[rows].mean(axis=0)
        around[rows] = source[rows] - means[label]
    covariance = np.asarray(around.T @ around / max(len(around), 1), np.float32)
    pixels = classifier.inputs(held.images)[0]
    statistics, spectrum = statistics_of(pixels), spectrum_of(pixels)
    return GeneralSet(features, statistics, held.labels, known.classes, means, covariance, spectrum)


def _spaced(samples: Samples, most: int | None) -> Samples:
    """At most so many of the samples, evenly spaced."""
    if most is None or most >= len(samples):
        return samples
    return samples.subset(np.linspace(0, len(samples) - 1, most).round().astype(np.int64))


def statistics_of(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Four statistics (N, STATISTICS) of normalised images (N, C, H, W), by which a shift of the images is recognised.

    Mean, logarithm of the spread, and logarithms of the mean absolute difference of neighbours and of the mean absolute
    second difference, both along rows: light, contrast, and how sharp or noisy an image is.
    """
    flat = pixels.reshape(len(pixels), -1)
    first = np.abs(pixels[..., 1:] - pixels[..., :-1]).reshape(len(pixels), -1)
    second = np.abs(pixels[..., 2:] - 2 * pixels[..., 1:-1] + pixels[..., :-2]).reshape(len(pixels), -1)
    spread = np.sqrt(((flat - flat.mean(axis=1, keepdims=True)) ** 2).mean(axis=1))
    columns = [
        flat.mean(axis=1),
        *(np.log(each + SMALL) for each in (spread, first.mean(axis=1), second.mean(axis=1))),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def spectrum_of(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean power spectrum (H / 2 + 1,) of images (N, C, H, W), H = W, from frequency 0 to half a cycle a pixel.

    Frequencies of all directions count together. A Hann window keeps the edges of the images from showing as lines.
    """
    side = pixels.shape[-1]
    line = np.hanning(side)
    window = np.outer(line, line) / (line**2).mean()
    centred = pixels - pixels.mean(axis=(2, 3), keepdims=True)
    power = np.zeros((side, side))
    for each in centred.reshape(-1, side, side):
        power += np.abs(np.fft.fft2(each * window)) ** 2
    frequency = np.fft.fftfreq(side)
    places = np.rint(np.hypot(frequency[:, None], frequency) * side).astype(np.int64)
    kept = places <= side // 2
    total = np.bincount(places[kept], power[kept]) / np.bincount(places[kept])
    return np.asarray(total / (side**2 * max(len(pixels) * pixels.shape[1], 1)), np.float32)


def save_general(general: GeneralSet, path: Path) -> int:
    """Writes the file of a general set; returns its size in bytes."""
    content = general.to_bytes()
    path.write_bytes(content)
    return len(content)
