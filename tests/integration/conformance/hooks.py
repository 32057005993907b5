"""What schemathesis has to be told to make requests that mean something."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import schemathesis
from hypothesis import strategies as st
from schemathesis.core import NOT_SET

_NO_LATER = "2025-01-01"
_HOUSES = "size,bedrooms,age\n2500,3,10\n900,1,0\n"
_INPUTS = (("size", "FP64", [2500.0, 900.0]), ("bedrooms", "INT64", [3, 1]), ("age", "FP32", [10, 0.0]))
_TENSORS = [{"name": name, "datatype": datatype, "shape": [2], "data": data} for name, datatype, data in _INPUTS]
_ENCODINGS = ("utf-8", "cp1250", "gb18030")

# What is trained on: no request of these tests comes so far that it is read.
_AS_THEY_ARE = ("application/gzip", "application/x-gzip", "application/vnd.apache.parquet")
for _name in _AS_THEY_ARE:
    schemathesis.openapi.media_type(_name, st.binary(min_size=1, max_size=100))


@schemathesis.hook
def filter_headers(_context: Any, headers: dict[str, Any]) -> bool:
    """No coding at all is one that is understood."""
    return headers.get("Content-Encoding") != ""


@schemathesis.hook
def before_call(_context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Make true of a request that is to be accepted what no schema can demand of it."""
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    if case.headers and case.headers.pop("Idempotency-Key", None) and "explain" not in (case.query or {}):
        case.headers["Idempotency-Key"] = str(uuid4())  # a key is new, and no explanation is kept for it
    if isinstance(types := (case.query or {}).get("type"), list):
        case.query["type"] = list({each.rpartition("=")[0]: each for each in types}.values())  # one for a column
    if "encoding" in (case.query or {}):
        case.query["encoding"] = _ENCODINGS[len(case.query["encoding"]) % len(_ENCODINGS)]  # names that Python knows
    if _trains_again(case):
        case.query = {}  # the parameters describe a file of sales
    if "{version}" in case.path:
        case.path_parameters["version"] = _in_service(case)  # and not the one before it
    _fill(case)
    for each in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(each, dict) and str(each.get("date", "")) > _NO_LATER:
            each["date"] = _NO_LATER  # a sale does not lie in the future
    if (case.headers or {}).get("Content-Encoding") == "gzip":
        if case.media_type in _AS_THEY_ARE or _trains_again(case):
            del case.headers["Content-Encoding"]
        else:
            kwargs["auth"] = _packed  # what is done to a request last


def _fill(case: Any) -> None:
    """Give it a body that means something."""
    if case.path.endswith("/infer"):
        _be_an_inference(case)
    elif case.media_type == "text/csv" and case.path == "/predict":
        case.body = _HOUSES  # text is a table of houses
    elif case.media_type == "text/csv":
        case.body = f"prediction,price,date\n{uuid4()},310000,{_NO_LATER}\n"  # text is a table of sales


def _trains_again(case: Any) -> bool:
    """Return whether a request to train has no body, or an empty object."""
    return case.path == "/train" and (case.body is NOT_SET or case.media_type == "application/json")


def _in_service(case: Any) -> str:
    """The version that serves now: others are promoted on the way."""
    with urlopen(f"{case.operation.base_url.rstrip('/')}/v2/models/housepredict") as answer:  # it is the service
        version: str = json.load(answer)["versions"][0]
    return version


def _be_an_inference(case: Any) -> None:
    """Tensors are those of the model, and as large as they say; of an output there is one."""
    if not isinstance(case.body, dict):
        case.body = json.dumps({"inputs": _TENSORS}).encode()
    else:
        case.body["inputs"] = _TENSORS
        if case.body.get("outputs"):
            case.body["outputs"] = list({each["name"]: each for each in case.body["outputs"]}.values())
    (case.headers or {}).pop("Inference-Header-Content-Length", None)  # all of it is JSON


def _packed(request: Any) -> Any:
    """A request with its body in gzip."""
    content = request.body or b""
    request.body = gzip.compress(content.encode() if isinstance(content, str) else content)
    return request


@schemathesis.check
def problem_is_documented(_context: Any, response: Any, case: Any) -> None:
    """A problem is one of those that its status is documented with."""
    told = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    if "$ref" in told:
        told = case.operation.schema.raw_schema["components"]["responses"][told["$ref"].rpartition("/")[2]]
    if response.headers.get("content-type") == ["application/problem+json"] and "x-problem-types" in told:
        assert response.json()["type"] in told["x-problem-types"], response.text
