"""Writes a personalised network: the trunk of an ONNX file stays; a filter and second heads are added behind gates.

The heads must be linear in the output `features`, as those of `mien export` are. A gate is a comparison in the graph,
so the file classifies each image by itself, in any batch. Images that pass the gate of the filter go through the trunk
twice, the second time mirrored: their copies are appended to the batch, and their features averaged behind the trunk.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mien.assets.manifest import METADATA_KEY, Head, ModelInfo
from mien.errors import MissingExtraError, UnsupportedError
from mien.personalise.adapt import Adaptation, Filter, Gate, Linear
from mien.personalise.general import SMALL

if TYPE_CHECKING:
    import onnx

_END: Final = 2**31 - 1
_HINT: Final = "train it further instead: mien train --from RUN --data STORE.h5"


def load_onnx() -> Any:
    """The package onnx.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise MissingExtraError("mien personalise", "personalise") from None
    return onnx


def linear_head(content: bytes, info: ModelInfo, head: Head) -> Linear:
    """The weights of a head.

    Raises:
        UnsupportedError: It is not one linear layer on the features.
        MissingExtraError: onnx is not installed.
    """
    onnx = load_onnx()
    return _linear(onnx, onnx.load_from_string(content), info, head)[1]


def _linear(onnx: Any, model: "onnx.ModelProto", info: ModelInfo, head: Head) -> tuple[Any, Linear]:
    node = next((node for node in model.graph.node if head.name in node.output), None)
    constants = {each.name: each for each in model.graph.initializer}
    features = info.features.name if info.features else ""
    if (
        node is not None
        and node.op_type == "Gemm"
        and node.input[0] == features
        and set(node.input[1:]) <= set(constants)
    ):
        values = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        if values.get("transB", 0) == 1 and not values.get("transA", 0) and values.get("alpha", 1.0) == 1.0:
            weight, bias = (onnx.numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:])
            return node, Linear(weight, bias)
    raise UnsupportedError(
        f"the model '{info.name}' cannot be personalised: its head '{head.name}' is not linear in the features",
        hint="a model that was personalised already is personalised from its origin with all faces; " + _HINT,
    )


def personalised(content: bytes, info: ModelInfo, adaptation: Adaptation, described: ModelInfo) -> bytes:
    """The ONNX file with an adaptation, described by `described`.

    Raises:
        UnsupportedError: The network has another form.
        MissingExtraError: onnx is not installed.
    """
    onnx = load_onnx()
    model = onnx.load_from_string(content)
    graph = _Graph(onnx, model, info.features.name if info.features else "")
    for head in info.heads:
        if head.name in adaptation.heads and adaptation.gate is not None:
            node, _ = _linear(onnx, model, info, head)
            graph.gated_head(node, head.name, adaptation.heads[head.name], adaptation.gate)
    if adaptation.filter:
        graph.gated_filter(info, *adaptation.filter)
    graph.finish()
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: replace(described, file="").to_json()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes that are added before and behind those of a graph; their names start with `personal_`."""

    def __init__(self, onnx: Any, model: "onnx.ModelProto", features: str) -> None:
        self.onnx, self.graph = onnx, model.graph
        self.features, self.doubled = features, f"personal_doubled_{features}"
        self.before: list[Any] = []
        self.middle: list[Any] = []  # behind the node that gives the features
        self.behind: list[Any] = []
        self._count = 0

    def constant(self, value: NDArray[Any] | Sequence[Any], kind: type = np.float32) -> str:
        self._count += 1
        name = f"personal_constant_{self._count}"
        self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, place: list[Any], operation: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        self._count += 1
        output = output or f"personal_{operation.lower()}_{self._count}"
        place.append(self.onnx.helper.make_node(operation, list(inputs), [output], name=output, **attributes))
        return output

    def opened(self, place: list[Any], rows: str, gate: Gate) -> str:
        """Whether the gate is open for rows (N, D): (N, 1) bool."""
        score = self.add(place, "MatMul", [rows, self.constant(gate.weights[:, None])])
        return self.add(place, "Greater", [score, self.constant([gate.threshold])])

    def gated_head(self, node: Any, name: str, head: Linear, gate: Gate) -> None:
        old = f"personal_general_{name}"
        node.output[0] = old
        features = node.input[0]
        product = [features, self.constant(head.weight), self.constant(head.bias)]
        new = self.add(self.behind, "Gemm", product, transB=1)
        self.add(self.behind, "Where", [self.opened(self.behind, features, gate), new, old], name)

    def gated_filter(self, info: ModelInfo, shape: Filter, gate: Gate) -> None:
        source, place = info.image.name, self.before
        trunk = list(self.graph.node)
        opened = self.opened(place, self.statistics(source), gate)
        found = self.add(place, "NonZero", [self.add(place, "Reshape", [opened, self.constant([-1], np.int64)])])
        rows = self.add(place, "Reshape", [found, self.constant([-1], np.int64)])
        images = self.filtered(info, self.add(place, "Gather", [source, rows], axis=0), shape)
        places = self.add(place, "Reshape", [rows, self.constant([-1, 1], np.int64)])
        plain = self.add(place, "ScatterND", [source, places, images])
        reverse = [self.constant([each], np.int64) for each in (-1, -_END, 3, -1)]
        mirrored = self.add(place, "Slice", [images, *reverse])
        both = self.add(place, "Concat", [plain, mirrored], axis=0)
        for node in trunk:
            for position, name in enumerate(node.input):
                if name == source:
                    node.input[position] = both
        self.averaged(source, rows, places)
        self.check_outputs(info, trunk, both)

    def averaged(self, source: str, rows: str, places: str) -> None:
        """Averages the features of the copies, which are appended to the batch, with those of their originals."""
        node = next(node for node in self.graph.node if self.features in node.output)
        doubled = self.doubled
        node.output[list(node.output).index(self.features)] = doubled
        place = self.middle
        zero, end, axis = (self.constant([each], np.int64) for each in (0, _END, 0))
        count = self.add(place, "Shape", [source], start=0, end=1)
        own = self.add(place, "Slice", [doubled, zero, count, axis])
        copies = self.add(place, "Slice", [doubled, count, end, axis])
        total = self.add(place, "Add", [self.add(place, "Gather", [own, rows], axis=0), copies])
        half = self.add(place, "Mul", [total, self.constant([0.5])])
        self.add(place, "ScatterND", [own, places, half], self.features)

    def check_outputs(self, info: ModelInfo, trunk: Sequence[Any], both: str) -> None:
        """Checks that what is computed of the longer batch leaves the graph through the features alone.

        Raises:
            UnsupportedError: Another output depends on it.
        """
        reached = {both}
        for node in trunk:
            if reached & set(node.input):
                reached |= set(node.output) - {self.doubled}
        if left := sorted(reached & {each.name for each in self.graph.output}):
            raise UnsupportedError(
                f"the model '{info.name}' cannot be personalised: its output '{left[0]}' is not of the features",
                hint=_HINT,
            )

    def filtered(self, info: ModelInfo, source: str, shape: Filter) -> str:
        """The nodes of `filtered`."""
        place, spec = self.before, info.input
        reach, depth = shape.kernel.shape[0] // 2, spec.depth
        pads = self.constant([0, 0, reach, reach] * 2, np.int64)
        wide = self.add(place, "Pad", [source, pads], mode="edge")
        kernel = np.repeat(shape.kernel[None, None] * shape.gain, depth, axis=0)
        mean, std = (np.asarray(each, np.float64).reshape(1, -1, 1, 1) for each in (spec.mean, spec.std))
        moved = self.add(
            place,
            "Conv",
            [wide, self.constant(kernel), self.constant(((shape.gain - 1) * mean / std).ravel())],
            group=depth,
        )
        low = self.add(place, "Max", [moved, self.constant(-mean / std)])
        return self.add(place, "Min", [low, self.constant((1 - mean) / std)])

    def statistics(self, source: str) -> str:
        """The nodes of `general.statistics_of`: (N, STATISTICS)."""
        place, axis = self.before, self.constant([3], np.int64)

        def part(start: int, stop: int) -> str:
            ends = [self.constant([start], np.int64), self.constant([stop], np.int64)]
            return self.add(place, "Slice", [source, *ends, axis])

        def mean(name: str) -> str:
            flat = self.add(place, "Reshape", [name, self.constant([0, -1], np.int64)])
            return self.add(place, "ReduceMean", [flat, self.constant([1], np.int64)], keepdims=1)

        def logarithm(name: str) -> str:
            return self.add(place, "Log", [self.add(place, "Add", [name, self.constant([SMALL])])])

        level = mean(source)
        level_4d = self.add(place, "Reshape", [level, self.constant([-1, 1, 1, 1], np.int64)])
        centred = self.add(place, "Sub", [source, level_4d])
        spread = self.add(place, "Sqrt", [mean(self.add(place, "Mul", [centred, centred]))])
        first = self.add(place, "Sub", [part(1, _END), part(0, -1)])
        double = self.add(place, "Mul", [part(1, -1), self.constant([2.0])])
        second = self.add(place, "Add", [self.add(place, "Sub", [part(2, _END), double]), part(0, -2)])
        steps = [mean(self.add(place, "Abs", [each])) for each in (first, second)]
        return self.add(place, "Concat", [level, *(logarithm(each) for each in (spread, *steps))], axis=1)

    def finish(self) -> None:
        nodes = [*self.before, *self.graph.node, *self.behind]
        if self.middle:
            place = 1 + next(number for number, node in enumerate(nodes) if self.doubled in node.output)
            nodes[place:place] = self.middle
        del self.graph.node[:]
        self.graph.node.extend(nodes)


def filtered(pixels: NDArray[np.float32], shape: Filter, info: ModelInfo) -> NDArray[np.float32]:
    """The images (N, C, H, W) of the network's input under a filter, as the graph computes them."""
    import cv2

    spec = info.input
    mean, std = (np.asarray(each, np.float32).reshape(1, -1, 1, 1) for each in (spec.mean, spec.std))
    values = (pixels * std + mean) * np.float32(shape.gain)
    kernel = np.ascontiguousarray(shape.kernel)
    found = [[cv2.filter2D(each, -1, kernel, borderType=cv2.BORDER_REPLICATE) for each in face] for face in values]
    return np.asarray((np.clip(np.array(found, np.float32), 0, 1) - mean) / std, np.float32)
