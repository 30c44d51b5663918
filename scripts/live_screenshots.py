"""Takes the screenshots of `docs/live.md`, with the portrait as the camera: `python -m scripts.live_screenshots`."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tests.browser import live_page, live_with_camera

ROOT: Final = Path(__file__).parent.parent
SECONDS: Final = 15  # shown in the strip of the last minute

# name: width, height, scheme, keys, and whether the whole page is shown
SHOTS: Final = {
    "live-dark": (1440, 900, "dark", "1l", False),
    "live-light": (1440, 900, "light", "4", False),
    "live-phone": (390, 844, "light", "1", False),
}


def camera() -> Iterator[NDArray[np.uint8]]:
    """The portrait, with another mouth for a moment, so that the last minute has something to show."""
    portrait = Image.open(ROOT / "examples" / "astronaut.jpg").convert("RGB").crop((0, 0, 512, 384))
    other = portrait.copy()
    pen = ImageDraw.Draw(other)
    pen.rectangle([190, 126, 256, 164], fill=portrait.getpixel((222, 178)))
    pen.ellipse([205, 128, 239, 172], fill=(20, 5, 8))
    happy, surprised = (np.asarray(image.resize((640, 480))) for image in (portrait, other))
    yield from itertools.repeat(happy, 100)
    yield from itertools.repeat(surprised, 40)


def main() -> None:
    with live_with_camera(camera()) as (browser, address):
        for name, (width, height, scheme, keys, whole) in SHOTS.items():
            page = live_page(
                browser,
                address,
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=2 if width < 500 else 1,
            )
            for key in keys:
                page.keyboard.press(key)
            page.wait_for_timeout(1000 * SECONDS)
            page.wait_for_selector("#feeling:text('Happiness')")
            image = Image.open(io.BytesIO(page.screenshot(full_page=whole))).convert("RGB")
            image.save(ROOT / "docs" / f"{name}.jpg", quality=88, subsampling=0, optimize=True)
            page.context.close()


if __name__ == "__main__":
    main()
