"""The report as a page: complete, self-contained, and shown by a real browser without complaints."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.commands import run_command
from tests.drawn import drawn_samples

from mien.datasets import Samples, store
from mien.errors import ConfigError, DataError, MissingExtraError, OutputError
from mien.evaluation import Evaluation, evaluate_model
from mien.evaluation.report.page import MISTAKES, evaluation_page, need_templates
from mien.evaluation.report.text import open_report, text
from mien.expression import ClassifierOptions, load_classifier
from mien.faces.detectors import DetectorOptions

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    return drawn_samples(tmp_path_factory.mktemp("drawn"), per_class=18).only("val")


@pytest.fixture(scope="module")
def evaluation(samples: Samples) -> Evaluation:
    return evaluate_model(ClassifierOptions(tta="flip"), samples, split="val")


@pytest.fixture(scope="module")
def html(evaluation: Evaluation, samples: Samples) -> str:
    return evaluation_page(evaluation, samples, data="drawn.h5")


VOID = {"meta", "input", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags and addresses; fails if a tag is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_it_is_whole_and_needs_nothing_else(html: str) -> None:
    found = Page(html)
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert found.addresses
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert not re.search(r"https?://|url\(|@import|//[a-z]", re.sub(r"base64,[^\"]*", "", html))


def test_it_says_what_was_evaluated(html: str, evaluation: Evaluation) -> None:
    assert html.count("<section>") == html.count("<svg") / 2 == len(evaluation.scores) == 3
    for scores in evaluation.scores.values():
        assert scores.protocol in html
        assert ", flip, " in scores.protocol
        assert f"{scores.accuracy.value:.1%}" in html
        assert f"{scores.n:,} faces" in html
    for word in ("drawn.h5", "Brightness", "Disagreement", "Worst mistakes", "Selective prediction"):
        assert word.lower() in html.lower()


def test_the_worst_mistakes_have_the_highest_confidence(html: str, evaluation: Evaluation) -> None:
    sections = html.split("<section>")[1:]
    for section, predicted in zip(sections, evaluation.predictions.values(), strict=True):
        wrong = np.sort(predicted.confidence[~predicted.correct])[::-1]
        shown = re.findall(r"</span> (\d+)%</span>", section)
        assert len(shown) == section.count("<img") == min(MISTAKES, len(wrong))
        assert shown == [f"{value:.0%}".rstrip("%") for value in wrong[:MISTAKES]]


def test_names_cannot_break_out(evaluation: Evaluation, samples: Samples) -> None:
    evil = replace(samples, names=np.full(len(samples), '"><script>alert(1)</script>'))
    written = evaluation_page(replace(evaluation, model="<b>&"), evil, data="<q>")
    assert not {"script", "q"} & set(Page(written).tags)
    assert "<em>&lt;b&gt;&amp;</em>" in written


def test_few_faces_without_votes_and_nothing_wrong(samples: Samples) -> None:
    few = replace(samples.subset(np.arange(3)), votes=None)
    found = evaluate_model(None, few, split="val")
    labels = found.predictions["labels"].probabilities.argmax(axis=1)  # the model as its own truth
    right = evaluate_model(None, replace(few, labels=labels), split="val")
    written = evaluation_page(right, few)
    assert "Worst mistakes" not in written
    assert "Disagreement" not in written
    assert Page(written).open == []


def complaints(html: str, folder: Path) -> list[str]:
    """What Chromium logs on the console of a page, refused requests included; the screenshot is in `folder`."""
    (folder / "page.html").write_text(html, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --hide-scrollbars --window-size=1280,1600"
    places = [f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'page.png'}"]
    command = [str(CHROMIUM), *flags.split(), "--enable-logging=stderr", *places, (folder / "page.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return [line for line in result.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_complaint(html: str, tmp_path: Path) -> None:
    assert complaints(html, tmp_path) == []
    with Image.open(tmp_path / "page.png") as image:
        assert image.size == (1280, 1600)
        assert len(image.convert("RGB").getcolors(1_000_000) or []) > 200


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_lets_nothing_be_fetched(html: str, tmp_path: Path) -> None:
    told = complaints(html.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'), tmp_path)
    assert any("http://127.0.0.1:9/x.png" in line and "Content Security Policy" in line for line in told)


def test_a_detector_in_the_loop(samples: Samples, astronaut: Path) -> None:
    portrait = np.asarray(Image.open(astronaut).convert("L"))[50:210, 145:305]
    few = samples.subset(np.arange(4))
    images = np.stack([cv2.resize(portrait, (48, 48), interpolation=cv2.INTER_AREA)] * 3 + [np.zeros((48, 48))])
    few = replace(few, images=images.astype(np.uint8))
    scores = evaluate_model(None, few, split="val", protocols=["labels"], detector="hog").scores["labels"]
    assert scores.found is not None
    assert scores.found.value == 0.75
    assert scores.n == 3
    assert "single view, hog on a canvas" in scores.protocol
    assert "faces found" in text(scores)
    with pytest.raises(DataError, match="'hog' finds none of the faces"):
        evaluate_model(None, few.subset(np.array([3])), split="val", detector="hog")


def test_progress_with_a_detector(samples: Samples) -> None:
    few, reported = samples.subset(np.arange(40)), []
    options = DetectorOptions("mien", min_score=0.05)
    evaluate_model(None, few, split="val", detector=options, progress=lambda done, of: reported.append((done, of)))
    assert reported == [(16, 40), (32, 40), (40, 40)]


def test_a_ready_classifier_is_used(samples: Samples, evaluation: Evaluation) -> None:
    found = evaluate_model(load_classifier(ClassifierOptions(tta="flip")), samples, split="val")
    assert found.as_dict() == evaluation.as_dict()


def test_without_jinja2_the_message_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match="HTML report") as caught:
        need_templates()
    assert "pip install 'mien[report]'" in caught.value.hint


def test_options_that_do_not_exist(samples: Samples) -> None:
    with pytest.raises(ConfigError, match="there is no detector 'eyes'"):
        evaluate_model(None, samples, split="val", detector="eyes")


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "out.html"
    place.write_text("before")
    with pytest.raises(TypeError), open_report(place) as file:
        print("half", file=file, end=1)  # type: ignore[call-overload]
    assert place.read_text() == "before"
    with open_report(place) as file:
        file.write("whole")
    assert place.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [place]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.html.partial").mkdir()
    for place in (tmp_path, tmp_path / "no" / "out.html", tmp_path / "file" / "out.html", tmp_path / "taken.html"):
        with pytest.raises(OutputError, match="cannot write"), open_report(place):
            pass
    assert not (tmp_path / "taken.html").exists()


def test_the_command(samples: Samples, tmp_path: Path) -> None:
    store.save(samples.subset(np.arange(16)), tmp_path / "faces.h5")

    def mien(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_command("evaluate", "faces.h5", "--protocol", "labels", *arguments, cwd=tmp_path)

    result = mien("--report", "out.html", "--out", "out.json", "--tta", "flip")
    assert result.returncode == 0, result.stderr
    assert "flip" in result.stdout
    assert Page((tmp_path / "out.html").read_text(encoding="utf-8")).open == []
    assert '"tta": "flip"' in (tmp_path / "out.json").read_text(encoding="utf-8")
    result = mien("--report", "nowhere/out.html")
    assert result.returncode == 7
    assert "Traceback" not in result.stderr
