"""Textures for the covers of training: patches of cloth and skin, cut from photographs with labelled faces.

Cloth comes from below faces and from images without faces; skin from places whose colour is that of skin (hands and
arms). Patches that touch a face, or a box that may hold one, are not used.
"""

import zipfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from mien.datasets import face_images
from mien.errors import DataError, InputError
from mien.faces.boxes import intersection
from mien.files import replacing
from mien.progress import Progress, unseen

SIDE: Final = 48
KINDS: Final = ("cloth", "skin")
_TRIES: Final = 12  # places that are tried in an image
_FLAT: Final = 3.0  # standard deviation below which a patch has no texture
_BUSY: Final = 45.0  # above which it shows things, not cloth
# Skin in YCrCb (Chai and Ngan 1999), and the share of a patch that must have it.
_SKIN: Final = ((0, 133, 77), (255, 173, 127))
_SHARE: Final = 0.85


def collect_textures(
    folder: Path,
    *,
    most: int = 1000,
    seed: int = 0,
    progress: Progress = unseen,
) -> dict[str, NDArray[np.uint8]]:
    """Cuts textures out of the training images of a folder.

    Args:
        folder: A folder of labelled images, or of several such folders; see `face_images`.
        most: Largest number of patches of each kind.
        seed: For the places.
        progress: Called with the number of images done and the number of all.

    Returns:
        By kind the patches (K, SIDE, SIDE) uint8 grey, K at least 1.

    Raises:
        DataError: No patch of a kind was found.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, list[NDArray[np.uint8]]] = {kind: [] for kind in KINDS}
    for image in face_images.read(folder, "train", progress=progress):
        height, width = image.image.shape[:2]
        if min(height, width) >= SIDE:
            taken = np.concatenate([image.boxes, image.ignore])
            for _ in range(_TRIES):
                left, top = (int(rng.integers(0, side - SIDE + 1)) for side in (width, height))
                box = np.array([[left, top, left + SIDE, top + SIDE]], float)
                if len(taken) and (intersection(box, taken) > 0).any():
                    continue
                patch = image.image[top : top + SIDE, left : left + SIDE]
                if (kind := _kind(patch)) and len(found[kind]) < most:
                    found[kind].append(np.asarray(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY), np.uint8))
                    break
        if all(len(patches) >= most for patches in found.values()):
            break
    if missing := [kind for kind, patches in found.items() if not patches]:
        raise DataError(f"{folder}: found no texture of {', '.join(missing)}", hint="give more photographs of people")
    return {kind: np.stack(patches) for kind, patches in found.items()}


def _kind(patch: NDArray[np.uint8]) -> str:
    """What a patch (SIDE, SIDE, 3) RGB can serve as; empty if nothing."""
    spread = float(cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).std())
    if not _FLAT <= spread <= _BUSY:
        return ""
    skin = cv2.inRange(cv2.cvtColor(patch, cv2.COLOR_RGB2YCrCb), _SKIN[0], _SKIN[1])
    share = float((skin > 0).mean())
    return "skin" if share >= _SHARE else "cloth" if share <= 1 - _SHARE else ""


def save_textures(textures: dict[str, NDArray[np.uint8]], path: Path) -> None:
    """Writes textures as a numpy archive, which appears only when it is complete.

    Raises:
        OutputError: The file cannot be written.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **textures)  # type: ignore[arg-type]


def load_textures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """The textures of a file by kind.

    Raises:
        InputError: There is no such file, or it holds something else.
    """
    again = "make it with `mien data textures`"
    try:
        with np.load(path, allow_pickle=False) as file:
            textures = {kind: file[kind] for kind in KINDS if kind in file}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of textures", hint=again) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not a file of textures: {error}", hint=again) from error
    if not textures or not all(each.ndim == 3 and each.dtype == np.uint8 and len(each) for each in textures.values()):
        raise InputError(f"{path}: is not a file of textures", hint=again)
    return textures
