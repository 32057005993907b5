"""Types and errors that the public API mentions can be imported from housepredict."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

import housepredict
from housepredict.domain import errors

INSIDE = {"Application", "DataFrame", "Meter"}
"""Types that programs need not import: `open` makes the application, and any library makes the frame."""
ERRORS = {each.__name__ for each in vars(errors).values() if isinstance(each, type)} - {"Sequence", "UUID", "Violation"}


def public() -> Iterator[tuple[str, Any]]:
    """Yield the public classes, functions and methods."""
    for name in housepredict.__all__:
        member = getattr(housepredict, name)
        yield name, member
        if inspect.isclass(member) and member.__module__.startswith("housepredict"):
            for below, each in vars(member).items():
                called = each.fget if isinstance(each, property) else each
                if not below.startswith("_") and inspect.isfunction(called):
                    yield f"{name}.{below}", called


PUBLIC = dict(public())


def classes(hint: Any) -> Iterator[type]:
    """Yield the classes of housepredict in a type."""
    if isinstance(hint, type) and hint.__module__.startswith("housepredict"):
        yield hint
    for part in get_args(hint):
        for each in part if isinstance(part, list) else [part]:
            yield from classes(each)


@pytest.mark.parametrize("name", PUBLIC)
def test_annotated_types_are_exported(name: str) -> None:
    named = {
        each.__name__
        for hint in get_type_hints(PUBLIC[name], localns={"TracerProvider": object}).values()
        for each in classes(hint)
    }
    assert named - INSIDE <= set(housepredict.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_documented_errors_are_exported(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    named = ERRORS.intersection(re.findall(r"\b[A-Z][a-z]\w+", text))
    assert named <= set(housepredict.__all__)


def test_training_errors_are_exported() -> None:
    assert {"TrainingInProgress", "InvalidOptions", "TrainingCancelled"} <= set(housepredict.__all__)
