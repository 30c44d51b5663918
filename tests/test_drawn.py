"""The drawn faces are worth learning from: no linear look at the pixels tells their emotions."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.drawn import SIDE, draw_face

from mien.emotions import vocabulary

LIMIT = 0.7
TRAINING, HELD = 80, 40  # faces of each emotion


def drawn(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pixels (N, 2304) and emotions (N,) of `count` faces an emotion."""
    rng = np.random.default_rng(seed)
    faces = [draw_face(emotion, rng).ravel() for emotion in vocabulary(8) for _ in range(count)]
    return np.stack(faces).astype(np.float32), np.repeat(np.arange(8), count)


def test_a_linear_classifier_on_the_pixels_does_badly() -> None:
    pixels, emotions = drawn(TRAINING, seed=0)
    held, truth = drawn(HELD, seed=1)
    scores = []
    for strength in (1e-4, 1e-3, 1e-2):  # the best of several, from too stiff to learnt by heart
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        scores.append(model.fit(pixels, emotions).score(held, truth))
    assert max(scores) < LIMIT
    assert max(scores) > 2 / 8  # yet they show something: chance is an eighth
    seven = truth < 7
    model.fit(pixels[emotions < 7], emotions[emotions < 7])
    assert model.score(held[seven], truth[seven]) < LIMIT


def test_no_two_are_alike() -> None:
    faces, _ = drawn(20, seed=2)
    assert len({face.tobytes() for face in faces}) == len(faces)
    assert faces.shape[1] == SIDE * SIDE
    by_emotion = faces.reshape(8, 20, -1)
    assert by_emotion.std(axis=1).mean() > 20  # grey levels between faces of one emotion
