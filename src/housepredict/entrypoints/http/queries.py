"""What the query of a request says, with every parameter that is none named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any
from uuid import UUID

from starlette.datastructures import QueryParams

from housepredict.domain.validation import Rule, Violation, pointer_to
from housepredict.entrypoints.http.problems import Problem, summary

DEFAULT_LIMIT = 10
MAX_LIMIT = 1000
MAX_PARAMETERS = 1000
LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
"""The schema of a number of entries to list."""


def page(query: QueryParams) -> tuple[int, UUID | None]:
    """How many predictions to list, and before which one. Raises a Problem with every violation."""
    values = _parameters(query, _PAGE)
    return values.get("limit", DEFAULT_LIMIT), values.get("before")


def listed(query: QueryParams) -> int:
    """How many to list. Raises a Problem with every violation."""
    limit: int = _parameters(query, {"limit": _PAGE["limit"]}).get("limit", DEFAULT_LIMIT)
    return limit


def from_sales(query: QueryParams) -> bool:
    """Whether to train on the sales that came back, too. Raises a Problem with every violation."""
    return bool(_parameters(query, {"from_sales": _FLAG}).get("from_sales"))


def wants_explanation(query: QueryParams) -> bool:
    """Whether estimates are to be explained. Raises a Problem with every violation."""
    return bool(_parameters(query, _PREDICT).get("explain"))


def not_for_a_key() -> Problem:
    """What to say of a request with a key that is to be explained: explanations are not kept, so as to be repeated."""
    message = "cannot be true in a request with an Idempotency-Key"
    return invalid_query([Violation(pointer_to("explain"), Rule.UNKNOWN, message, "true")])


def span_of_days(query: QueryParams) -> tuple[date | None, date | None]:
    """From which day to which, both included; None where it is not said. Raises a Problem with every violation."""
    values = _parameters(query, _SPAN)
    return values.get("since"), values.get("until")


def _day(text: str) -> date | None:
    with suppress(ValueError):
        return date.fromisoformat(text)
    return None


# What a parameter looks like, how it is read, and what to say where it is something else.
_Parameter = tuple[re.Pattern[str], Callable[[str], object], str]
_Parameters = Mapping[str, _Parameter]
_PAGE: _Parameters = {
    "limit": (re.compile(r"[1-9]\d{0,2}|1000", re.ASCII), int, "must be a whole number from 1 to 1000"),
    "before": (re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), UUID, "must be a prediction's id"),
}
_FLAG: _Parameter = (re.compile("true|false"), json.loads, "must be true or false")
_PREDICT: _Parameters = {"explain": _FLAG}

_IS_DAY = (re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII), _day, "must be a date of the calendar, YYYY-MM-DD")
_SPAN: _Parameters = {"since": _IS_DAY, "until": _IS_DAY}


def _parameters(query: QueryParams, known: _Parameters) -> Mapping[str, Any]:
    values: dict[str, Any] = {}
    violations = []
    for name, text in given(query):
        if name not in known:
            violations.append(Violation(pointer_to(name), Rule.UNKNOWN, "is no parameter of this route", text))
        elif name in values:
            violations.append(Violation(pointer_to(name), Rule.DUPLICATE, "is given more than once", text))
        else:
            form, read, message = known[name]
            values[name] = read(text) if form.fullmatch(text) else None
            if values[name] is None:
                violations.append(Violation(pointer_to(name), Rule.TYPE, message, text))
    if violations:
        raise invalid_query(violations)
    return values


def given(query: QueryParams) -> Sequence[tuple[str, str]]:
    """The parameters in their order. Raises a Problem for more than anybody has to say, which are not looked at."""
    parameters = query.multi_items()
    if len(parameters) > MAX_PARAMETERS:
        message = f"must have at most {MAX_PARAMETERS} parameters, not {len(parameters)}"
        raise invalid_query([Violation("", Rule.LIMIT, message)])
    return parameters


def invalid_query(violations: Sequence[Violation]) -> Problem:
    """What to say of parameters that break rules."""
    return Problem("invalid-query", 422, "The query cannot be understood", summary(violations), violations)
