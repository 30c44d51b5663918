"""Ctrl-C: the first ends a run in good order, the second at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning

from mien.errors import StoppedError

__all__ = ["Interrupt"]


class Interrupt(lightning.Callback):
    """Ends a run after the step in which Ctrl-C came.

    The weights of that step are saved as `interrupted.ckpt`, for use; a run goes on from its last whole epoch, because
    only there the result is the same as that of a run nobody stopped. While an epoch is judged, its end is waited for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.came = False
        self._tell: Callable[[str], None] = lambda _: None
        self.saved = False

    @contextmanager
    def listening(self, tell: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """While this lasts, Ctrl-C is ours; only a program's main thread can have it. `tell` is told that it came."""
        self._tell = tell
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._heard)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise self.error("at once")
        self.came = True
        # From a thread: the signal may have come amid a line, and a stream is not written to twice at once.
        line = "Ctrl-C: stopping in good order, after this step; once more to stop at once"
        threading.Thread(target=self._tell, args=(line,)).start()

    def error(self, when: str) -> StoppedError:
        """What is raised in the end."""
        kept = f"; the present weights are in {self.folder / 'interrupted.ckpt'}" if self.saved else ""
        return StoppedError(f"stopped by Ctrl-C {when}{kept}", hint=f"go on with: mien train --resume {self.folder}")

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """After a step; the last one of an epoch is followed by the epoch's own end."""
        if not self.came or trainer.is_last_batch:
            return
        if trainer.world_size == 1:  # several processes hear of it at different steps, and would wait for each other
            trainer.save_checkpoint(self.folder / "interrupted.ckpt")
            self.saved = True
        raise self.error(f"in epoch {trainer.current_epoch + 1}")

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """The epoch's checkpoints are written after this, and then the trainer stops."""
        if self.came:
            trainer.should_stop = True
