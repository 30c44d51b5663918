"""What a run calculates in, on processors of several kinds."""

from typing import Any

import pytest
import torch
from tests.tiny import tiny_recipe

from mien.training.hardware import precision


@pytest.fixture(autouse=True)
def _without_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def on(monkeypatch: pytest.MonkeyPatch, **capabilities: Any) -> Any:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    return precision(tiny_recipe(precision="auto"))


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_processors_that_have_bf16_use_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert on(monkeypatch, architecture="x86_64", **{name: True}) == "bf16-mixed"


def test_processors_that_would_only_imitate_bf16_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on(monkeypatch, architecture="x86_64", avx2=True, avx512_f=True, avx512_bf16=False) == "32-true"


def test_what_is_not_known_is_not_risked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on(monkeypatch, architecture="arm64", neon=True, bf16=True) == "32-true"


def test_an_older_torch_tells_it_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert precision(tiny_recipe(precision="auto")) == "bf16-mixed"


def test_the_recipe_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert precision(tiny_recipe(precision="32-true")) == "32-true"
