"""The domain needs a named part of the standard library, and attrs: an allow-list, which a new import has to join."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import housepredict.domain

ALLOWED = {
    *(
        "__future__",
        "collections",
        "collections.abc",
        "contextlib",
        "datetime",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "json",
    ),
    *("math", "numbers", "re", "secrets", "statistics", "threading", "typing", "uuid"),
    "attrs",
}
MODULES = sorted(Path(housepredict.domain.__path__[0]).rglob("*.py"))


def imports(code: str) -> Iterator[str]:
    """Every module that is imported anywhere, under TYPE_CHECKING and inside functions too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""


def strangers(code: str) -> set[str]:
    return {name for name in imports(code) if name not in ALLOWED and not name.startswith("housepredict.domain.")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_the_domain_imports_nothing_but_what_is_named_here(path: Path) -> None:
    assert strangers(path.read_text(encoding="utf-8")) == set()


def test_what_is_named_here_is_the_standard_library_and_attrs_and_all_of_it_is_used() -> None:
    assert {name.partition(".")[0] for name in ALLOWED} - sys.stdlib_module_names == {"attrs"}
    assert {name for path in MODULES for name in imports(path.read_text(encoding="utf-8"))} >= ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import os",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np",
        "def late():\n    from sklearn.linear_model import LinearRegression",
        "from housepredict.adapters.memory import InMemoryPredictions",
        "import collections, subprocess",
    ],
)
def test_a_stranger_would_be_noticed_wherever_it_is_imported(code: str) -> None:
    assert strangers(code)
