"""How long an epoch of fine-tuning takes: `python -m benchmarks.transfer_speed [RECIPE ...] [--sizes 96 112 128]`.

Times training steps (augmentation, forward, loss, backward, optimiser) of the recipe's network and batch on noise, at
several image sizes and numbers of threads, and plans an epoch from the median. It states the processor time too: on a
busy machine the clock also counts other work, and several threads spend processor time on waiting for each other.
There, only the processor time of one thread says something about the network.
"""

import argparse
import statistics
import time

import torch

from benchmarks.training_speed import noise
from mien.training import ExpressionRecipe, task_spec
from mien.training.hardware import precision
from mien.training.recipe import changed, load

RECIPES = ("dlib-resnet", "efficientnet-lite0")
FACES = 28_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 112, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--steps", type=int, default=3, help="timed steps; one more comes before them")
    asked = parser.parse_args()
    print("| recipe | pixels | threads | s a step | processor s a step | minutes an epoch | of processor time |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in asked.recipes:
        for size in asked.sizes:
            for threads in asked.threads:
                print(row(name, size, threads, asked.steps), flush=True)


def row(name: str, size: int, threads: int, steps: int) -> str:
    """One row of the table."""
    torch.set_num_threads(threads)
    changes = {"model.weights": "", "input.size": size, "augmentation.sizes": []}
    recipe = changed(load(name, form=ExpressionRecipe), changes)
    setup = task_spec("expression").setup(recipe, noise(1, recipe.batch_size))
    batch = next(iter(setup.data.train_batches(0)))
    optimizer = torch.optim.SGD(setup.module.parameters(), recipe.optimizer.lr / 100, 0.9)
    reduced = precision(recipe) == "bf16-mixed"
    clock, processor = [], []
    setup.module.train()
    for _ in range(steps + 1):
        began = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            loss, _ = setup.module.training_step(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clock.append(time.perf_counter() - began[0])
        processor.append(time.process_time() - began[1])
    step, busy = statistics.median(clock[1:]), statistics.median(processor[1:])
    minutes = [each * FACES / recipe.batch_size / 60 for each in (step, busy)]
    return f"| {name} | {size} | {threads} | {step:.2f} | {busy:.2f} | {minutes[0]:.1f} | {minutes[1]:.1f} |"


if __name__ == "__main__":
    main()
