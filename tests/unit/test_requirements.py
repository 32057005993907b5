"""Libraries whose internals are used have an upper bound, and the installed versions satisfy it."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(("extra", "name"), [("serve", "uvicorn"), ("train", "scikit-learn")])
def test_pinned_library_excludes_next_minor_release(extra: str, name: str) -> None:
    [requirement] = [
        each for text in PROJECT["optional-dependencies"][extra] if (each := Requirement(text)).name == name
    ]
    major, minor = (int(part) for part in version(name).split(".")[:2])
    assert version(name) in requirement.specifier
    assert f"{major}.{minor + 1}.0" not in requirement.specifier
