"""What schemathesis has to be told to make requests that mean something."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st

_NO_LATER = "2025-01-01"

# What is trained on: no request of these tests comes so far that it is read.
for _name in ("application/gzip", "application/x-gzip", "application/vnd.apache.parquet"):
    schemathesis.openapi.media_type(_name, st.binary(min_size=1, max_size=100))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """Make true of a request that is to be accepted what no schema can demand of it."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid4())  # a key is new
        if "explain" in (case.query or {}):
            del case.headers["Idempotency-Key"]  # no explanation is kept for it
    if isinstance(types := (case.query or {}).get("type"), list):
        case.query["type"] = list({each.rpartition("=")[0]: each for each in types}.values())  # one for a column
    if case.media_type == "text/csv":
        case.body = f"prediction,price,date\n{uuid4()},310000,{_NO_LATER}\n"  # text is a table of sales
    for each in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(each, dict) and str(each.get("date", "")) > _NO_LATER:
            each["date"] = _NO_LATER  # a sale does not lie in the future


@schemathesis.check
def problem_is_documented(_context: Any, response: Any, case: Any) -> None:
    """A problem is one of those that its status is documented with."""
    told = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    if "$ref" in told:
        told = case.operation.schema.raw_schema["components"]["responses"][told["$ref"].rpartition("/")[2]]
    if response.headers.get("content-type") == ["application/problem+json"] and "x-problem-types" in told:
        assert response.json()["type"] in told["x-problem-types"], response.text
