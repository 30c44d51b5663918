"""From a network's logits to probabilities."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["softmax"]


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities (..., C) float32 of logits (..., C), each row summing to 1.

    Args:
        logits: (..., C) float32, finite.
        temperature: Above 1 softens, below 1 sharpens, the top class stays (Guo et al. 2017, section 4.2).

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: expected a number above 0, got {temperature}")
    # Subtracting the maximum leaves the result as it is and keeps exp() from overflowing.
    scaled = (logits - logits.max(axis=-1, keepdims=True)) / np.float32(temperature)
    powers: NDArray[np.float32] = np.exp(scaled, dtype=np.float32)
    powers /= powers.sum(axis=-1, keepdims=True)
    return powers
