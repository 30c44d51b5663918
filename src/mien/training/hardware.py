"""What a run runs on: one device, several, or several machines, through Lightning's own strategies."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only

from mien.errors import ConfigError
from mien.training.recipe_base import RunRecipe

__all__ = ["Hardware", "first_process", "precision"]


@dataclass(frozen=True)
class Hardware:
    """Devices of a run; no part of its recipe, so that it can go on elsewhere.

    Attributes:
        devices: Processes on each machine, one a device.
        nodes: Machines; on each the same command is started, with the environment that torchrun or a cluster sets.
        strategy: Lightning's name; "auto" is data parallel ("ddp") where there are several devices.
        accelerator: "auto", "cpu", "gpu".
    """

    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    accelerator: str = "auto"

    def __str__(self) -> str:
        machines = f" on each of {self.nodes} machines" if self.nodes > 1 else ""
        devices = f"{self.devices} device{'s' if self.devices > 1 else ''}"
        return f"{devices}{machines}, strategy '{self.strategy}', accelerator '{self.accelerator}'"

    @property
    def world(self) -> int:
        """Processes in all; each batch of the recipe is divided among them."""
        return self.devices * self.nodes

    def check(self, recipe: RunRecipe) -> None:
        """Looks whether a batch can be divided alike.

        Raises:
            ConfigError: It cannot.
        """
        if self.devices < 1 or self.nodes < 1:
            raise ConfigError(
                f"{self.devices} devices on {self.nodes} machines: expected at least one of each",
                hint="leave --devices and --nodes out",
            )
        if recipe.batch_size % self.world:
            raise ConfigError(
                f"a batch of {recipe.batch_size} cannot be divided among {self.world} processes alike",
                hint=f"--set batch_size={max(1, recipe.batch_size // self.world) * self.world}",
            )


def first_process() -> bool:
    """Whether this is the process that writes and speaks; the others only compute."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def precision(recipe: RunRecipe) -> Any:
    """What Lightning shall calculate in: what the recipe names, or for "auto" bf16 where the hardware has it.

    A processor that only imitates bf16 takes sixteen times as long with it as with 32 bits (an EPYC with AVX2).
    """
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if _processor_has_bf16() else "32-true"


def _processor_has_bf16() -> bool:
    """Whether this is an x86 processor that multiplies in bf16; of others it is not known that it pays."""
    known: Any = getattr(torch.cpu, "get_capabilities", None)  # not in every torch that will do
    if known is None:
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    return any(known().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
