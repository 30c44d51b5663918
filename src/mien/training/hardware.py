"""What a run computes on: one device, several, or several machines.

Lightning is imported by what needs it: its import takes as long as PyTorch's, and most commands train nothing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import torch

from mien.errors import ConfigError
from mien.training.recipe import RunRecipe

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class Hardware:
    """The devices of a run. They are not part of its recipe, so that a run can be resumed on others.

    Attributes:
        devices: Processes on each machine, one for each device.
        nodes: Machines; the same command is started on each, in the environment that torchrun or a cluster sets.
        strategy: "auto", or "ddp" (data parallel), which "auto" is if there are several devices.
        accelerator: "auto", "cpu", "gpu".
    """

    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    accelerator: str = "auto"

    @property
    def processes(self) -> int:
        """The processes of a run, on all machines."""
        return self.devices * self.nodes

    def __str__(self) -> str:
        machines = f" on each of {self.nodes} machines" if self.nodes > 1 else ""
        devices = f"{self.devices} device{'s' if self.devices > 1 else ''}"
        return f"{devices}{machines}, strategy '{self.strategy}', accelerator '{self.accelerator}'"

    def fabric(self, recipe: RunRecipe) -> "Fabric":
        """The devices, ready to be launched.

        Raises:
            ConfigError: There are no such devices, a batch cannot be divided equally among them, or the recipe freezes
                a part of the network, which only one process can.
        """
        from lightning.fabric import Fabric
        from lightning.fabric.strategies.ddp import DDPStrategy
        from lightning.fabric.strategies.single_device import SingleDeviceStrategy

        world = self.processes
        if self.devices < 1 or self.nodes < 1:
            raise self._refused("expected at least one device and one machine")
        if recipe.batch_size % world:
            raise ConfigError(
                f"a batch of {recipe.batch_size} cannot be divided equally among {world} processes",
                hint=f"--set batch_size={max(1, recipe.batch_size // world) * world}",
            )
        if world > 1 and recipe.optimizer.freeze_epochs:
            raise ConfigError(
                f"optimizer.freeze_epochs = {recipe.optimizer.freeze_epochs} needs one process, got {world}",
                hint="train on one device, or set optimizer.freeze_epochs to 0",
            )
        try:
            fabric = Fabric(
                accelerator=self.accelerator,
                devices=self.devices,
                num_nodes=self.nodes,
                strategy=self.strategy,
                precision=precision(recipe),
            )
        except (ValueError, RuntimeError) as error:  # of which Lightning's own errors are children
            raise self._refused(" ".join(str(error).split())) from error
        if not isinstance(fabric.strategy, (DDPStrategy, SingleDeviceStrategy)):
            raise self._refused("expected the strategy 'auto' or 'ddp'")
        return fabric

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(f"{self}: cannot be used: {reason}", hint="see --devices, --nodes and --strategy")


def first_process() -> bool:
    """Whether this is the process that writes files and messages; the others only compute."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and PyTorch, also in the processes that load data."""
    from lightning.fabric import seed_everything

    seed_everything(seed, workers=True, verbose=False)


def precision(recipe: RunRecipe) -> Precision:
    """The recipe's precision; for "auto" bf16 if the hardware has it.

    A processor that only emulates bf16 takes sixteen times as long with it as with 32 bits (an EPYC with AVX2).
    """
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "bf16-mixed" if _processor_has_bf16() else "32-true"


def _processor_has_bf16() -> bool:
    """Whether this is an x86 processor that multiplies in bf16; on others it is not known to be faster."""
    known = getattr(torch.cpu, "get_capabilities", None)  # not in every version of torch that is supported
    if known is None:
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    found = cast("dict[str, bool]", known())
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
