"""The one door to onnxruntime."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from mien.errors import WeightsError

__all__ = ["Session"]

_FATAL_ONLY: Final = 4


class Session:
    """A network ready to run on the processor, made from the bytes of an ONNX file.

    One thread unless told otherwise: more give latency spikes on shared machines and little speed with small nets.
    Several threads of a program may use one session at a time.

    Attributes:
        inputs: Name and shape of each input; None where a dimension is free.
        outputs: Likewise.
        metadata: The file's own key-value pairs.
    """

    def __init__(self, model: bytes, origin: str, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL_ONLY  # what goes wrong is said by the exceptions below
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions have no common base
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{origin}: is no ONNX network: {reason}", hint="fetch or export it again") from error
        self.origin = origin
        self.inputs = {node.name: _shape(node.shape) for node in self._session.get_inputs()}
        self.outputs = {node.name: _shape(node.shape) for node in self._session.get_outputs()}
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, *arrays: NDArray[np.float32] | NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Runs the network on its inputs, in order; returns its outputs by name.

        Raises:
            WeightsError: The network does not take these arrays.
        """
        feed = dict(zip(self.inputs, arrays, strict=True))
        try:
            results = self._session.run(None, feed)
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{self.origin}: cannot be run: {reason}", hint="is it the right network?") from error
        return dict(zip(self.outputs, results, strict=True))


def _shape(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(size if isinstance(size, int) else None for size in shape)
