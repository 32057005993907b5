"""Every domain error has a problem type over HTTP, an exit code, and a place in the reference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.requests import Request

from housepredict.domain import errors
from housepredict.domain.errors import HousepredictError
from housepredict.domain.validation import Rule, Violation
from housepredict.entrypoints.cli.main import EXIT_CODE_OF, EXIT_CODES
from housepredict.entrypoints.http.problems import problem_of

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "http.md").read_text(encoding="utf-8")
REQUEST = Request({"type": "http", "method": "POST", "path": "/", "headers": []})
STARTUP_ERRORS = {errors.InvalidSettings}
"""Errors that keep the service from starting, and so never become responses."""


def subclasses(kind: type[HousepredictError]) -> Iterator[type[HousepredictError]]:
    """Yield all subclasses of an error in housepredict."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("housepredict."):
            yield each
            yield from subclasses(each)


def make_error(kind: Any) -> HousepredictError:
    if issubclass(kind, errors.BrokenRules):
        return cast("HousepredictError", kind([Violation("/size", Rule.TYPE, "must be a number")]))
    message = ["port: must be a number"] if kind is errors.InvalidSettings else "It went wrong."
    return cast("HousepredictError", kind(message))


ALL = sorted(set(subclasses(HousepredictError)), key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", ALL)
def test_error_has_a_documented_problem_type(kind: type[HousepredictError]) -> None:
    problem = problem_of(REQUEST, make_error(kind))
    assert (problem.name == "internal-error") is (kind in STARTUP_ERRORS)
    assert f"| `{problem.name}` | {problem.status} |" in REFERENCE
    assert isinstance(make_error(kind), errors.TrainingBroken) or problem.status != 500 or kind in STARTUP_ERRORS


def exit_code_of(kind: type[HousepredictError]) -> int | None:
    """Return the exit code of an error or of a base class; None if only the general one applies."""
    kinds = EXIT_CODE_OF.keys() - {HousepredictError}
    return next((EXIT_CODE_OF[each] for each in kind.__mro__ if each in kinds), None)


@pytest.mark.parametrize("kind", ALL)
def test_error_has_an_exit_code(kind: type[HousepredictError]) -> None:
    assert exit_code_of(kind) in EXIT_CODES


def test_unmapped_error_is_detected() -> None:
    class Added(HousepredictError):
        """An error without a problem type or exit code."""

    assert problem_of(REQUEST, Added()).name == "internal-error"
    assert exit_code_of(Added) is None


def test_newer_model_does_not_suggest_retraining() -> None:
    assert "Train another" in problem_of(REQUEST, errors.RefusedModel("It is damaged.")).detail
    assert "Train another" not in problem_of(REQUEST, errors.NewerModel("Upgrade housepredict.")).detail
