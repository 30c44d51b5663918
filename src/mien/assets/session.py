"""ONNX networks on onnxruntime: the only module that runs them."""

import functools
import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mien.errors import WeightsError

_FATAL_ONLY: Final = 4


class Session:
    """A network ready to run on the processor, made from the bytes of an ONNX file.

    It uses one thread by default: more cause latency spikes on shared machines and speed up small networks little.
    It has at most as many threads as the cores that this process may use: more would wait for each other.
    Several threads of a program may use one session at the same time. A pickled session carries the network, so that
    it also opens where the file is not.

    Attributes:
        inputs: Name and shape of each input; None where a dimension is free.
        outputs: Name and shape of each output; None where a dimension is free.
        metadata: The file's key-value pairs.
    """

    def __init__(self, model: bytes, origin: str, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(threads, cores())
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY  # the exceptions below report what goes wrong
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common base class
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"{origin}: is not an ONNX network: {reason}", hint="fetch or export it again"
            ) from error
        self.origin = origin
        self._made_from = model, threads
        self.inputs = {node.name: _shape(node.shape) for node in self._session.get_inputs()}
        self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    @functools.cached_property
    def files(self) -> Mapping[str, str]:
        """The file that it was made from, by `origin`: its SHA-256."""
        return {self.origin: hashlib.sha256(self._made_from[0]).hexdigest()}

    def __reduce__(self) -> "tuple[Callable[..., Session], tuple[bytes, str]]":
        model, threads = self._made_from
        return functools.partial(Session, threads=threads), (model, self.origin)

    def run(
        self, *arrays: NDArray[np.float32] | NDArray[np.uint8], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """Runs the network.

        onnxruntime computes a network as a whole; an output that is not requested only saves its copy. An optional
        output should therefore lie on the way to the others, as features do, or be cheap.

        Args:
            arrays: One for each input, in order.
            outputs: Names of the outputs that are wanted; None for all.

        Returns:
            The outputs by name.

        Raises:
            WeightsError: The network does not accept these arrays, or has no such output.
        """
        feed = dict(zip(self.inputs, arrays, strict=True))
        wanted = list(self.outputs if outputs is None else outputs)
        try:
            results = self._session.run(wanted, feed)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(
                f"{self.origin}: cannot be run: {reason}", hint="check that it is the right network"
            ) from error
        return dict(zip(wanted, results, strict=True))


_shared: Final[WeakValueDictionary[tuple[bytes, str, int], Session]] = WeakValueDictionary()
_sharing: Final = threading.Lock()


def shared_session(model: bytes, origin: str, *, threads: int = 1) -> Session:
    """The session of a network: the one that is open already, or a new one.

    So each further thread, and each further way of reading the same network, costs neither its memory nor the time to
    open it.

    Args:
        model: The ONNX file.
        origin: Where it comes from, for messages.
        threads: That the network may use; at most one for each core.

    Raises:
        WeightsError: It is no network.
    """
    key = model, origin, min(threads, cores())
    with _sharing:
        session = _shared.get(key)
        if session is None:
            session = _shared[key] = Session(model, origin, threads=threads)
    return session


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shape(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
