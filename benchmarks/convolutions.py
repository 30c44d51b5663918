"""Times plain and depthwise convolutions in the detector's network: `python -m benchmarks.convolutions`.

The network runs at 640x480 with untrained weights, unchanged and with every 3x3 convolution after the first replaced by
a depthwise and a pointwise one (as in YuNet), in full precision and in int8, on one thread of onnxruntime. Accuracy is
not compared, because the numbers of operations differ several times.
"""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from benchmarks.results import Measurement, Results, markdown, measure, save
from mien.assets.session import Session
from mien.models.detection.face_detector import FaceDetector
from mien.training.detection.export import graph_of, int8_form
from mien.training.detection.scenes import Scene
from mien.training.recipe import load

SIZE: Final = (480, 640)
NOTHING: Final = np.empty((0, 4), np.float32)


def separable(module: nn.Module) -> None:
    """Replaces plain 3x3 convolutions, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3) and child.in_channels > 3:
            before, after = child.in_channels, child.out_channels
            depthwise = nn.Conv2d(before, before, 3, child.stride, padding=1, groups=before)  # type: ignore[arg-type]
            setattr(module, name, nn.Sequential(depthwise, nn.ReLU(), nn.Conv2d(before, after, 1)))
        else:
            separable(child)


def operations(network: nn.Module) -> float:
    """Millions of multiply-adds of one image."""
    total = 0

    def count(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()  # type: ignore[index]

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, *SIZE))
    for hook in hooks:
        hook.remove()
    return total / 1e6


def settle(network: FaceDetector) -> None:
    """Randomises the statistics of the norms: an exporter merges equal biases, which trained networks do not have."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)
    scenes = [Scene(image[0], NOTHING, np.empty((0, 5, 2), np.float32), NOTHING, np.empty(0, np.float32))] * 2
    figures: dict[str, Measurement] = {}
    counted: dict[str, float] = {}
    for title in ("plain", "depthwise"):
        network = FaceDetector(**load("detector-from-scratch").model.options)
        settle(network)
        fused = network.fused()
        if title == "depthwise":
            separable(fused)
        counted[title] = operations(fused)
        graph = graph_of(fused)
        with tempfile.TemporaryDirectory() as folder:
            small = int8_form(graph, scenes, Path(folder))
        for form, each in (("full", graph.SerializeToString()), ("int8", small)):
            session = Session(each, title)
            figures[f"{title}, {form}"] = measure(lambda session=session: session.run(image), repeats=60)  # type: ignore[misc]
    medians = {name: each.median for name, each in figures.items()}
    ratios = {
        f"depthwise / plain, {form}": medians[f"depthwise, {form}"] / medians[f"plain, {form}"]
        for form in ("full", "int8")
    }
    ratios["operations, plain / depthwise"] = counted["plain"] / counted["depthwise"]
    results = Results.here("convolutions", "ms", figures, ratios=ratios)
    print(markdown(results))
    save(results)


if __name__ == "__main__":
    main()
