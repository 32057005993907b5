"""Every error that is raised on purpose has an answer over HTTP, an exit code, and a place in the reference."""

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
BEFORE_HTTP = {errors.InvalidSettings}
"""Those that keep the service from starting."""


def tree(kind: type[HousepredictError]) -> Iterator[type[HousepredictError]]:
    """The errors that derive from one."""
    for each in kind.__subclasses__():
        if each.__module__.startswith("housepredict."):
            yield each
            yield from tree(each)


def raised(kind: Any) -> HousepredictError:
    if issubclass(kind, errors.BrokenRules):
        return cast("HousepredictError", kind([Violation("/size", Rule.TYPE, "must be a number")]))
    given = ["port: must be a number"] if kind is errors.InvalidSettings else "It went wrong."
    return cast("HousepredictError", kind(given))


ALL = sorted(set(tree(HousepredictError)), key=lambda each: each.__name__)


@pytest.mark.parametrize("kind", ALL)
def test_error_has_an_answer_over_http_that_is_documented(kind: type[HousepredictError]) -> None:
    problem = problem_of(REQUEST, raised(kind))
    assert (problem.name == "internal-error") is (kind in BEFORE_HTTP)
    assert f"| `{problem.name}` | {problem.status} |" in REFERENCE
    assert isinstance(raised(kind), errors.TrainingBroken) or problem.status != 500 or kind in BEFORE_HTTP


def exit_code_of(kind: type[HousepredictError]) -> int | None:
    """The exit code of an error, or of one that it derives from; None if it is only that of any error."""
    kinds = EXIT_CODE_OF.keys() - {HousepredictError}
    return next((EXIT_CODE_OF[each] for each in kind.__mro__ if each in kinds), None)


@pytest.mark.parametrize("kind", ALL)
def test_error_has_an_exit_code(kind: type[HousepredictError]) -> None:
    assert exit_code_of(kind) in EXIT_CODES


def test_error_that_is_added_without_an_answer_is_found() -> None:
    class Added(HousepredictError):
        """An error that is mapped nowhere."""

    assert problem_of(REQUEST, Added()).name == "internal-error"
    assert exit_code_of(Added) is None


def test_version_of_a_newer_release_is_not_to_be_trained_again() -> None:
    assert "Train another" in problem_of(REQUEST, errors.RefusedModel("It is damaged.")).detail
    assert "Train another" not in problem_of(REQUEST, errors.NewerModel("Upgrade housepredict.")).detail
