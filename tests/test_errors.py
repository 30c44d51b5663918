"""One table maps errors to exit codes and HTTP status, without gaps."""

import inspect
import pickle

import pytest

from mien import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.MienError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_an_exit_code_and_a_status(kind: type[errors.MienError]) -> None:
    error = kind("reading", "train") if kind is errors.MissingExtraError else kind("what", hint="do this")
    assert errors.exit_code(error) in (*range(1, 10), 130)
    assert 400 <= errors.http_status(error) <= 599
    assert kind.__name__ in errors.__all__
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # it may cross processes


def test_the_most_specific_class_counts() -> None:
    assert errors.exit_code(errors.LimitError("x")) == errors.EXIT_CODES[errors.InputError]
    assert errors.http_status(errors.LimitError("x")) == 413


def test_exit_codes_tell_the_kinds_apart() -> None:
    assert len(set(errors.EXIT_CODES.values())) == len(errors.EXIT_CODES)


def test_a_missing_extra_names_the_command() -> None:
    error = errors.MissingExtraError("training", "train")
    assert str(error) == "training needs packages that are not installed (pip install 'mien[train]')"
