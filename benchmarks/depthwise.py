"""Depthwise convolutions in training on a processor: `python -m benchmarks.depthwise`.

Times the forward pass and the gradients of depthwise convolutions as in EfficientNet-Lite, on one thread, in 32 bits
and in bf16, channels last. Processor time, medians, in milliseconds for 64 faces of 96 pixels. What is faster where
decides what `mien.models.blocks.layers.DepthwiseConv` does.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional

# Channels, side of the maps, side of the kernel, stride: one of each kind in EfficientNet-Lite0.
SHAPES = (
    (32, 48, 3, 1),
    (96, 48, 3, 2),
    (144, 24, 3, 1),
    (144, 24, 5, 2),
    (480, 6, 5, 1),
    (672, 6, 5, 2),
    (1152, 3, 5, 1),
)
FACES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print("| channels | maps | kernel | stride | float32 | its gradients | bf16 | its gradients | bf16 / float32 |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for channels, side, size, stride in SHAPES:
        times = [times_of(channels, side, size, stride, kind, repeats) for kind in (torch.float32, torch.bfloat16)]
        row = [f"{value:.1f}" for pair in times for value in pair]
        print(
            f"| {channels} | {side} | {size} | {stride} | {' | '.join(row)} | {times[1][1] / times[0][1]:.1f} |",
            flush=True,
        )


def times_of(channels: int, side: int, size: int, stride: int, kind: torch.dtype, repeats: int) -> tuple[float, float]:
    """Milliseconds of the forward pass and of both gradients."""
    maps = torch.randn(FACES, channels, side, side, dtype=kind).to(memory_format=torch.channels_last)
    kernel = torch.randn(channels, 1, size, size, dtype=kind)

    def forward() -> torch.Tensor:
        return functional.conv2d(maps, kernel, None, stride, size // 2, 1, channels)

    gradient = torch.randn_like(forward())
    there = [stride, stride], [size // 2, size // 2], [1, 1], False, [0, 0], channels

    def backward() -> object:
        return torch.ops.aten.convolution_backward(gradient, maps, kernel, None, *there, [True, True, False])

    return _median(forward, repeats), _median(backward, repeats)


def _median(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
