"""Parsing of query parameters. A single Problem reports all violations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any
from uuid import UUID

from starlette.datastructures import QueryParams

from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import (
    Algorithm,
    Effort,
    TrainingOptions,
    choice,
    column,
    encoding,
    seconds,
    seed,
)
from housepredict.domain.validation import Rule, Violation, did_you_mean, pointer_to
from housepredict.entrypoints.http.problems import Problem, summary
from housepredict.entrypoints.training_processes import TrainingRequest

DEFAULT_LIMIT = 10
MAX_LIMIT = 1000
MAX_PARAMETERS = 1000
LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
"""The JSON Schema for the parameter `limit`."""

Reader = Callable[[str], Any]
"""A parser for the text of a parameter. It raises ValueError with a message such as "must be true or false"."""


def page(query: QueryParams) -> tuple[int, UUID | None]:
    """Parse the paging parameters `limit` and `before`.

    The id `before` (None if missing) restricts the list to predictions older than the one with this id.
    """
    values = _values(query, {"limit": _LIMIT, "before": _ID})
    return values.get("limit", DEFAULT_LIMIT), values.get("before")


def read_limit(query: QueryParams) -> int:
    """Parse the parameter `limit`."""
    limit: int = _values(query, {"limit": _LIMIT}).get("limit", DEFAULT_LIMIT)
    return limit


def wants_explanation(query: QueryParams) -> bool:
    """Parse the parameter `explain`."""
    return bool(_values(query, {"explain": _FLAG}).get("explain"))


def explained_with_key() -> Problem:
    """Return the problem for combining `explain` with an Idempotency-Key.

    Explanations aren't stored, so they can't be replayed.
    """
    message = "can't be true in a request with an Idempotency-Key"
    return _invalid_query([Violation(pointer_to("explain"), Rule.UNKNOWN, message, "true")])


def date_range(query: QueryParams) -> tuple[date | None, date | None]:
    """Parse the parameters `since` and `until`. Each is None if missing."""
    values = _values(query, {"since": _DAY, "until": _DAY})
    return values.get("since"), values.get("until")


def retraining_request(query: QueryParams) -> TrainingRequest:
    """Parse the parameters of a training request without a body. The caller adds the version to retrain."""
    return TrainingRequest(with_recorded=bool(_values(query, {"from_sales": _FLAG}).get("from_sales")))


def training_request(query: QueryParams) -> TrainingRequest:
    """Parse the parameters of a training request with uploaded sales. The caller adds the path of the sales file."""
    values, violations = _read(query, _TRAINING, _COLUMNS)
    columns = [kind[0] for kind in values.get("type", ()) if kind]
    violations += [
        Violation("/type", Rule.DUPLICATE, "given more than once for this column", name)
        for name in sorted({name for name in columns if columns.count(name) > 1})
    ]
    if violations:
        raise _invalid_query(violations)
    policy, with_recorded = values.pop("promote", PromotionPolicy.IF_BETTER), values.pop("from_sales", False)
    options = TrainingOptions(features=values.pop("feature", ()), kinds=dict(values.pop("type", ())), **values)
    return TrainingRequest(options=options, policy=policy, with_recorded=with_recorded)


def _matching(form: str, read: Reader, message: str) -> Reader:
    pattern = re.compile(form, re.ASCII)

    def value(text: str) -> Any:
        if pattern.fullmatch(text):
            with suppress(ValueError):
                return read(text)
        raise ValueError(message)

    return value


def _kind_of_column(text: str) -> tuple[str, Kind]:
    name, equals, kind = text.rpartition("=")
    if not equals:
        raise ValueError(f"must be COLUMN=KIND, where KIND is one of {', '.join(Kind)}")
    return column(name), choice(Kind)(kind)


def _seed(text: str) -> int:
    return seed(int(text) if re.fullmatch(r"\d{1,10}", text, re.ASCII) else None)


def _seconds(text: str) -> float:
    return seconds(float(text) if re.fullmatch(r"\d{1,20}(\.\d{1,25})?([eE][+-]?\d{1,3})?", text, re.ASCII) else None)


_LIMIT = _matching(r"[1-9]\d{0,2}|1000", int, "must be a whole number from 1 to 1000")
_ID = _matching(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", UUID, "must be the id of a prediction")
_FLAG = _matching("true|false", json.loads, "must be true or false")
_DAY = _matching(r"\d{4}-\d{2}-\d{2}", date.fromisoformat, "must be a date, YYYY-MM-DD")
_TRAINING: Mapping[str, Reader] = {
    "price": column,
    "sale_date": column,
    "house_id": column,
    "algorithm": choice(Algorithm),
    "effort": choice(Effort),
    "seed": _seed,
    "time_limit": _seconds,
    "encoding": encoding,
    "promote": choice(PromotionPolicy),
    "from_sales": _FLAG,
}
_COLUMNS: Mapping[str, Reader] = {
    "feature": column,
    "exclude": column,
    "closed": column,
    "allow": column,
    "type": _kind_of_column,
}
"""The parameters that may occur several times in a training request, with their parsers."""


def _values(query: QueryParams, once: Mapping[str, Reader]) -> Mapping[str, Any]:
    values, violations = _read(query, once, {})
    if violations:
        raise _invalid_query(violations)
    return values


def _read(
    query: QueryParams, once: Mapping[str, Reader], repeatable: Mapping[str, Reader]
) -> tuple[dict[str, Any], list[Violation]]:
    """Parse a query, and return the values (a list for each repeatable parameter) and the violations.

    `once` and `repeatable` contain the parsers of the allowed parameters, by name.
    """
    parameters = query.multi_items()
    if len(parameters) > MAX_PARAMETERS:
        message = f"the query must have at most {MAX_PARAMETERS:,} parameters, not {len(parameters):,}"
        raise _invalid_query([Violation("", Rule.LIMIT, message)])
    values: dict[str, Any] = {}
    violations = []
    for name, text in parameters:
        read = once.get(name) or repeatable.get(name)
        if read is None:
            message = "not a parameter of this route" + did_you_mean(name, (*once, *repeatable), "`{}`".format)
            violations.append(Violation(pointer_to(name), Rule.UNKNOWN, message, text))
            continue
        try:
            value = read(text)
        except ValueError as error:
            violations.append(Violation(pointer_to(name), Rule.TYPE, str(error), text))
            value = None
        if name in repeatable:
            values.setdefault(name, []).append(value)
        elif name in values:
            violations.append(Violation(pointer_to(name), Rule.DUPLICATE, "given more than once", text))
        else:
            values[name] = value
    return values, violations


def _invalid_query(violations: Sequence[Violation]) -> Problem:
    return Problem("invalid-query", summary(violations), violations)
