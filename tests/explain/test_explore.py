"""Every architecture can be explored; what its images promise; and `mien explore` as a user runs it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
from PIL import Image
from tests.browser import browser_with_camera, write_camera
from tests.commands import run_command
from tests.drawn import draw_face
from tests.explain.conftest import Build
from torch import nn

from mien import models
from mien.assets.manifest import InputSpec
from mien.datasets import Samples, store
from mien.errors import OutputError
from mien.explain import ExploreOptions
from mien.explain.backward import RULES, images_of_units
from mien.explain.explore import explore
from mien.explain.explore_page import images_of, write_page
from mien.explain.explored import Explored, with_face, without_face
from mien.explain.layers import activations, all_activations, layers_of, strongest
from mien.explain.maximise import MaximiseOptions, maximise
from mien.expression.observation import Observation
from mien.models import detection
from mien.models.landmarks.face_landmarks import FaceLandmarks

DEEP = ("dlib_resnet", "efficientnet_lite", "emonet_deep", "inception_v1", "mini_xception", "resnet18")
QUICK = ExploreOptions(units=1, steps=2)
COLOURS = InputSpec(64, "rgb", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
GREY = InputSpec(32, "grey", (0.5,), (0.25,))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def check(network: Explored, folder: Path, layers_like: str | None = None) -> None:
    """Every layer has a unit whose images are complete, and the page has them all."""
    layers = explore(network, replace(QUICK, layers=layers_like))
    assert layers
    assert len({layer.layer.name for layer in layers}) == len(layers)
    for layer in layers:
        (unit,) = layer.units
        expected = {"gradient", "guided", "deconvolution", "maximised"} if network.has_face else {"maximised"}
        assert expected <= set(unit.images), layer.layer
        assert ("activation" in unit.images) == (network.has_face and layer.layer.has_maps)
        for image in (*unit.images.values(), *layer.sheets.values()):
            assert image.dtype == np.uint8
            assert image.ndim == 3
    kinds = {layer.layer.kind for layer in layers if "filter" in layer.units[0].images}
    assert kinds == {layer.layer.kind for layer in layers if layer.layer.kind in ("Conv2d", "Conv1d")}
    page = write_page(folder / "out", network, layers)
    for file in page.parent.rglob("*.png"):
        assert f'src="{file.relative_to(page.parent).as_posix()}"' in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", models.names())
def test_every_classifier(name: str, build: Build, seen: Observation, tmp_path: Path) -> None:
    """Of the deepest only the last layers; `test_every_layer_of_deep_networks` has the rest."""
    check(with_face(build(name), seen), tmp_path, "heads.*" if name in DEEP else None)


@pytest.mark.long
@pytest.mark.parametrize("name", DEEP)
def test_every_layer_of_deep_networks(name: str, build: Build, seen: Observation, tmp_path: Path) -> None:
    check(with_face(build(name), seen), tmp_path)


@pytest.mark.parametrize("name", ["plain", "landmark", "image_lstm"])
def test_a_network_without_a_face(name: str, build: Build, tmp_path: Path) -> None:
    check(without_face(build(name)), tmp_path)


def test_the_page_says_how_many_units_of_a_large_layer_a_sheet_has(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 300, 3), nn.Conv2d(300, 4, 3))
    explored = Explored("wide", "", network, (torch.randn(1, 1, 16, 16),), GREY, True)
    page = write_page(tmp_path / "out", explored, explore(explored, QUICK)).read_text(encoding="utf-8")
    assert "The activations of the first 256 units" in page
    assert "The filters of the first 256 units" in page
    assert "The filters of all units" in page  # of the second layer


@pytest.mark.parametrize("name", detection.names())
def test_every_detector(name: str, tmp_path: Path) -> None:
    network = detection.build(name).fused()
    check(Explored(name, name, network, (torch.rand(1, 3, 32, 64),), COLOURS, True), tmp_path)


def test_the_landmark_network(tmp_path: Path) -> None:
    network = FaceLandmarks(torch.rand(70, 2).tolist(), size=32).fused()
    check(Explored("landmarks", "face_landmarks", network, (torch.randn(1, 1, 32, 32),), GREY, True), tmp_path)


@pytest.mark.parametrize("rule", ["guided", "deconvolution"])
def test_backward_images_are_those_of_captum(rule: str, build: Build, seen: Observation) -> None:
    """The network `plain` has its ReLUs as modules, which captum needs; here the rule holds for any ReLU."""
    network = with_face(build("plain"), seen)
    layer = [each for each in layers_of(network.network, network.arrays) if each.kind == "Conv2d"][-1]
    found = activations(network.network, layer.name, network.arrays)[0, 1]
    row, column = divmod(int(found.argmax()), found.shape[1])
    kind = NeuronGuidedBackprop if rule == "guided" else NeuronDeconvolution
    method = kind(network.network, network.network.get_submodule(layer.name))
    expected = method.attribute(network.arrays[0].clone(), (1, row, column))
    got = images_of_units(network.network, layer.name, [1], network.arrays, rule)  # type: ignore[arg-type]
    torch.testing.assert_close(got[0], expected, atol=1e-5, rtol=1e-4)
    assert expected.abs().max() > 0


def test_relus_that_are_functions_obey_the_rule_too() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.constant_(self.conv.weight, -1)
            self.end = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.constant_(self.end.weight, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.end(torch.relu(self.conv(images)))
            return found

    arrays = (torch.tensor([[[[2.0]]]]),)  # the ReLU is shut: no gradient, but deconvolution passes
    images = {rule: images_of_units(Net(), "end", [0], arrays, rule)[0].item() for rule in RULES}
    assert images == {"gradient": 0.0, "guided": 0.0, "deconvolution": -1.0}


@pytest.mark.parametrize("name", ["plain", "vgg13", "landmark", "image_lstm"])
def test_maximised_inputs_excite_their_unit_more_than_the_start(name: str, build: Build, seen: Observation) -> None:
    network = with_face(build(name), seen)
    layers = [each for each in layers_of(network.network, network.arrays) if each.kind in ("Conv2d", "Linear")]
    layer, place = layers[-1], network.place
    options = MaximiseOptions(steps=24, small_norm=0, small_contribution=0)
    units = [0, 1]
    best, start = (
        maximise(network.network, layer.name, units, network.arrays, place, each)
        for each in (options, MaximiseOptions(steps=0))
    )

    def activation(inputs: torch.Tensor) -> torch.Tensor:
        shape = network.arrays[place].shape[1:]
        arrays = [array.expand(len(units), *array.shape[1:]) for array in network.arrays]
        arrays[place] = inputs if inputs.ndim == len(shape) + 1 else inputs[:, None].expand(len(units), *shape)
        with torch.no_grad():
            found = activations(network.network, layer.name, arrays)
        means = found if found.ndim == 2 else found.flatten(2).mean(dim=2)
        return means[torch.arange(len(units)), units]

    assert (activation(best) > activation(start)).all()


def test_layers_run_in_order_and_only_as_far_as_is_needed(build: Build, seen: Observation) -> None:
    network = with_face(build("plain"), seen)
    layers = layers_of(network.network, network.arrays)
    assert [layer.kind for layer in layers[:2]] == ["Conv2d", "ReLU"]
    assert layers[-1].name == "heads.votes"
    together = all_activations(network.network, layers, network.arrays)
    for layer in layers:
        with torch.no_grad():
            alone = activations(network.network, layer.name, network.arrays)
        torch.testing.assert_close(alone, together[layer.name])
        assert tuple(alone.shape[1:]) == (layer.units, *layer.shape)


@pytest.fixture(scope="module")
def explored(tiny_model: Path, tiny_samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Samples]:
    """The tiny model with a crop and its data."""
    folder = tmp_path_factory.mktemp("explore")
    store.save(tiny_samples, folder / "faces.h5")
    Image.fromarray(draw_face("happiness", np.random.default_rng(0))).save(folder / "crop.png")
    words = ("--image", folder / "crop.png", "--faces-are-crops", "--data", folder / "faces.h5", "--steps", "2")
    done = run_command("explore", tiny_model, *words, "--units", "2", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    assert "tiny: " in done.stdout
    return folder / "out", tiny_samples.only("val")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_works_and_asks_for_nothing(explored: tuple[Path, Samples], scheme: str, tmp_path: Path) -> None:
    camera = write_camera(tmp_path / "camera.mjpeg", [np.zeros((48, 48, 3), np.uint8)])
    with browser_with_camera(camera) as browser:
        page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_default_timeout(500_000)  # a busy machine may take long; it only ends a test that hangs
        said, asked = list[str](), list[str]()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfailed", lambda request: said.append(request.url))
        page.goto((explored[0] / "index.html").as_uri())
        layers = page.locator("nav a").count()
        assert page.locator("section:visible").count() == 1
        page.keyboard.press("j")
        assert page.locator("section:visible").get_attribute("id") == "layer-2"
        page.locator("nav a").last.click()
        assert page.locator("section:visible").get_attribute("id") == f"layer-{layers}"
        shown = page.locator("section:visible h3").all_inner_texts()
        assert any(text.startswith("Unit 3: happiness") for text in shown), shown
        page.evaluate("document.querySelectorAll('section').forEach(each => each.classList.add('open'))")
        page.evaluate(
            "Promise.all([...document.images].map(each => { each.loading = 'eager'; return each.decode(); }))"
        )
        assert said == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_the_faces_of_the_data_are_those_that_excite_the_unit_most(
    explored: tuple[Path, Samples], tiny_model: Path
) -> None:
    from mien.explain.networks import load
    from mien.expression import ClassifierOptions

    out, samples = explored
    model = load(ClassifierOptions(model=tiny_model))
    arrays = tuple(map(torch.from_numpy, model.classifier.inputs(samples.images)))
    network = without_face(model)
    layer = layers_of(network.network, network.arrays)[0]
    peaks = strongest(all_activations(network.network, [layer], arrays)[layer.name])
    (strip,) = sorted(out.glob("images/001-*/unit-*.faces.png"))[:1]
    unit = int(strip.name.split(".")[0].removeprefix("unit-"))
    tile = np.array(Image.open(strip).convert("L"))[:56, :56]
    best = samples.images[int(peaks[:, unit].argmax())]
    expected = np.array(Image.fromarray(best).convert("L").resize((56, 56), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(tile, expected)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("mien-s",), 2, "--out is missing"),
        (("mien-s", "--out", "out", "--layers", "nothing.*"), 2, "fits no layer"),
        (("mien-s", "--out", "out", "--units", "0"), 2, "--units: expected a number from 1"),
        (("mien-q", "--out", "out"), 2, "there is no model 'mien-q'"),
        (("alone.onnx", "--out", "out"), 2, "the inside of 'tiny' is not known: there is no alone.safetensors"),
        (("mien-s", "--out", "out", "--image", "wall.png"), 3, "no face was found"),
        (("mien-s", "--out", "out", "--image", "missing.png"), 3, "missing.png"),
        (("mien-detector", "--out", "out", "--data", "faces.h5"), 2, "reads no faces of a store"),
        (("mien-s", "--out", "wall.png"), 7, "cannot write into 'wall.png': it is a file"),
    ],
    ids=["no out", "no layer", "no unit", "no model", "bare onnx", "no face", "no image", "a detector", "a file"],
)
def test_bad_input(
    words: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    tiny_model: Path,
    tiny_samples: Samples,
) -> None:
    (tmp_path / "alone.onnx").write_bytes(tiny_model.read_bytes())
    Image.fromarray(np.full((120, 160, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    store.save(tiny_samples, tmp_path / "faces.h5")
    done = run_command("explore", *words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("own", [("images/mine.png",), ("index.html", "images/mine.png"), ("index.html",)], ids=str)
def test_a_folder_of_someone_else_stays(
    own: tuple[str, ...], tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.explain.explored.explore_source", None)  # it is refused before the work
    for name in own:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("<html>mine</html>")
    done = run_command("explore", tiny_model, "--out", tmp_path / "out")
    assert done.returncode == 7, done.stderr
    assert "was not written by `mien explore`" in done.stderr
    assert "give a new folder" in done.stderr
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == set(own)
    assert all((tmp_path / "out" / name).read_text() == "<html>mine</html>" for name in own)


def test_a_second_run_replaces_only_what_the_first_wrote(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    explored = Explored("small", "", network, (torch.randn(1, 1, 16, 16),), GREY, True)
    layers = explore(explored, QUICK)
    out = tmp_path / "out"
    write_page(out, explored, layers)
    first = images_of(out)
    assert set(first) == set(out.rglob("*.png"))
    for mine in ("images/mine.png", "images/001-0/mine.png", "images/mine/photo.png", "mine.txt"):
        (out / mine).parent.mkdir(exist_ok=True)
        (out / mine).write_bytes(b"mine")
    write_page(out, explored, layers[1:])
    left = set(out.rglob("*.png")) - set(images_of(out))
    assert {path.relative_to(out / "images").as_posix() for path in left} == {
        "mine.png",
        "001-0/mine.png",
        "mine/photo.png",
    }
    assert len(images_of(out)) < len(first)
    assert all(path.read_bytes() == b"mine" for path in (*left, out / "mine.txt"))
    assert not (out / "images" / "002-1").exists()
    taken = next(path for path in first if path.parent.name == "002-1")
    taken.parent.mkdir()
    taken.write_bytes(b"mine")
    with pytest.raises(OutputError, match="is not replaced"):
        write_page(out, explored, layers)
    assert taken.read_bytes() == b"mine"
    assert all(path.is_file() for path in images_of(out))
