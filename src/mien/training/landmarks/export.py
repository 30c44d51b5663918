"""Exports a landmark run: one ONNX file with the model's description inside, and its training form beside it.

The weights are stored in 8 bits with one scale for each output channel, and are turned into numbers in full precision
when the file is loaded: it is a quarter as large, computes as before, and no activation is rounded, which would make
points jump between the values of 8 bits. Errors and the operating point of the face score are measured on the file.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.assets.manifest import ModelInfo
from mien.assets.session import Session
from mien.assets.signature import FaceScore, Features, ImageInput, InputSpec, Landmarks, Pose
from mien.errors import WeightsError
from mien.faces.keypoints import COUNTS, JAW, POINTS_70
from mien.files import staging_folder
from mien.models.landmarks.face_landmarks import FaceLandmarks
from mien.training.artifacts import check_name, publish, serialised
from mien.training.landmarks.data import LandmarkData
from mien.training.landmarks.module import MEAN, STD
from mien.training.landmarks.placement import Crops, Placements, placed
from mien.training.silence import silenced

TOLERANCE: Final = 2e-4  # of the parity gate, on the points as fractions of the side, with weights in full precision
ROUNDED: Final = 0.003  # how far 8 bits may move the points on average, in eye distances
KEPT: Final = 0.995  # share of the held-back faces whose score is above the operating point
_LEAST: Final = 64  # elements from which a weight is stored in 8 bits


class _Outputs(nn.Module):
    """A network that returns points, pose, scores (N, 1) and features, as the description names them."""

    def __init__(self, network: FaceLandmarks) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, 1, size, size) -> points (N, K, 2), pose (N, 3), score (N, 1), features (N, width)."""
        features = self.network.features(images)
        found = self.network.read(features)
        return found.points, found.pose, found.score[:, None], features


def description(name: str, text: str, data: LandmarkData, size: int, width: int) -> ModelInfo:
    """The description of a network for crops of `size` pixels with `width` features, without scores and provenance."""
    return ModelInfo(
        name=name,
        task="landmarks",
        description=text,
        inputs=(ImageInput("images", InputSpec(size, "grey", (MEAN,), (STD,)), data.places),),
        outputs=(Landmarks("points", POINTS_70, COUNTS[POINTS_70]), Pose(), FaceScore(), Features(width)),
    )


def graph_of(network: FaceLandmarks) -> onnx.ModelProto:
    """The ONNX form of a network, in full precision; the number of crops is free."""
    example = torch.zeros(2, 1, network.size, network.size)
    with silenced("torch.onnx"):
        program = torch.onnx.export(
            _Outputs(network.fused()).eval(),
            (example,),
            input_names=["images"],
            output_names=["points", "pose", "score", "features"],
            dynamic_shapes=({0: torch.export.Dim("faces")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # None only if a file is written
    proto: onnx.ModelProto = program.model_proto
    return proto


def with_small_weights(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose weights are stored in 8 bits: integers, a cast and a product with the scales.

    A runtime computes these nodes once, when it loads the file, because they depend on no input.
    """
    small = onnx.ModelProto()
    small.CopyFrom(graph)
    consumers = {name: node for node in small.graph.node for name in node.input}
    added, kept = [], []
    for tensor in small.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        node = consumers.get(tensor.name)
        if node is None or node.op_type not in ("Conv", "Gemm", "MatMul") or values.size < _LEAST or values.ndim < 2:
            kept.append(tensor)
            continue
        transposed = any(each.name == "transB" and each.i for each in node.attribute)
        channel = 0 if node.op_type == "Conv" or transposed else values.ndim - 1
        rest = tuple(axis for axis in range(values.ndim) if axis != channel)
        scale = np.maximum(np.abs(values).max(axis=rest, keepdims=True), 1e-12) / 127
        names = [f"{tensor.name}.{part}" for part in ("int8", "scale", "float")]
        kept += [
            onnx.numpy_helper.from_array(np.rint(values / scale).astype(np.int8), names[0]),
            onnx.numpy_helper.from_array(scale.astype(np.float32), names[1]),
        ]
        added += [
            onnx.helper.make_node("Cast", [names[0]], [names[2]], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [names[2], names[1]], [tensor.name]),
        ]
    nodes = [*added, *small.graph.node]
    del small.graph.node[:], small.graph.initializer[:]
    small.graph.node.extend(nodes)
    small.graph.initializer.extend(kept)
    return small


def export_landmarks(network: FaceLandmarks, info: ModelInfo, data: LandmarkData, out: Path) -> list[Path]:
    """Writes a trained network to `out` (.onnx), with its training form and its manifest entry beside it.

    Args:
        network: With its trained weights.
        info: The description; operating point and scores are filled in.
        data: Its validation split sets the operating point and the scores.
        out: The ONNX file to write.

    Returns:
        The files written.

    Raises:
        WeightsError: The file differs from the checkpoint.
        OutputError: The files cannot be written.
    """
    check_name(out)
    network = network.float().eval()
    graph = graph_of(network)
    full = Session(serialised(_copy(graph)), "the exported network in full precision")
    content = serialised(with_small_weights(graph))
    session = Session(content, "the exported network")
    held = _held(data, network.size)
    _check_parity(network, full, held)
    found, exact = _run(session, held), _run(full, held)
    dense = held.dense.numpy()
    moved = _error(found["points"][dense], exact["points"][dense], held.eye_distance.numpy()[dense])
    if moved.mean() > ROUNDED:
        raise WeightsError(
            f"weights in 8 bits move the points by {moved.mean():.4f} eye distances, more than {ROUNDED:g}",
            hint="train with more weight decay",
        )
    scores = 1 / (1 + np.exp(-found["score"][:, 0].astype(np.float64)))
    faces = held.face.numpy() > 0
    point = float(np.clip(np.quantile(scores[faces], 1 - KEPT), 0.01, 0.99))
    info = replace(info, scores=_scores(found, held, scores >= point)).with_outputs(FaceScore("score", round(point, 4)))
    with staging_folder(out) as staging:
        return publish(content, info, out, staging, network.state_dict())


def _copy(graph: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    return copied


def _held(data: LandmarkData, size: int) -> Crops:
    """The crops of the validation split, placed exactly."""
    parts = []
    for batch in data.val_batches():
        count = len(batch.crops)
        exact = Placements(torch.ones(count), torch.zeros(count), torch.ones(count), torch.zeros(count, 2))
        parts.append(placed(batch, exact, size, data.room))
    return Crops(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _normal(crops: Crops) -> NDArray[np.float32]:
    return np.asarray(((crops.images - MEAN) / STD).numpy(), np.float32)


def _run(session: Session, crops: Crops, part: int = 256) -> dict[str, NDArray[np.float32]]:
    images = _normal(crops)
    found = [session.run(images[start : start + part]) for start in range(0, len(images), part)]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _check_parity(network: FaceLandmarks, session: Session, crops: Crops, count: int = 64) -> None:
    """The unfused checkpoint and the file in full precision must agree, for single crops and for batches."""
    images = _normal(crops)[:count]
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).points.numpy()
    for found in (
        session.run(images)["points"],
        np.concatenate([session.run(each[None])["points"] for each in images]),
    ):
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise WeightsError(
                f"the exported network differs from its checkpoint by {difference:.2g}, more than {TOLERANCE:g}",
                hint="this is a bug in the export or in the network's fused form",
            )


def _error(found: NDArray[np.floating], known: NDArray[np.floating], unit: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K) distances in eye distances."""
    return np.asarray(np.linalg.norm(found - known, axis=2) / unit[:, None], np.float64)


def _scores(found: dict[str, NDArray[np.float32]], held: Crops, positive: NDArray[np.bool_]) -> dict[str, float | int]:
    """The errors on crops that are placed exactly: in eye distances, in degrees, and shares of right scores."""
    dense, faces = held.dense.numpy(), held.face.numpy() > 0
    error = _error(found["points"][dense], held.points.numpy()[dense], held.eye_distance.numpy()[dense])
    inside = held.inside.numpy()[dense] > 0
    jaw = np.zeros(inside.shape[1], bool)
    jaw[JAW] = True
    pose = np.abs(found["pose"][dense] - held.pose.numpy()[dense])
    return {
        "faces": int(dense.sum()),
        "error_without_jaw": round(float(error[inside & ~jaw].mean()), 4),
        "error_of_jaw": round(float(error[inside & jaw].mean()), 4),
        "pose_degrees": round(float(pose.mean()), 2),
        "faces_kept": round(float(positive[faces].mean()), 4),
        "others_rejected": round(float(1 - positive[~faces].mean()), 4) if (~faces).any() else 0.0,
    }
