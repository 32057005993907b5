"""Packages with entry points, installed in a folder as pip would: a module or two, and what tells of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path


def tell_of(folder: Path, package: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write what pip writes of an installed package: entry points by group and name."""
    told = folder / f"{package.replace('-', '_')}-0.1.0.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {package}\nVersion: 0.1.0\n")
    lines = [
        line
        for group, named in entry_points.items()
        for line in (f"[{group}]", *(f"{name} = {stands_for}" for name, stands_for in named.items()))
    ]
    (told / "entry_points.txt").write_text("\n".join(lines))


def tell_of_project(folder: Path, project: Path) -> None:
    """The same of a project, by its pyproject.toml."""
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tell_of(folder, about["name"], about.get("entry-points", {}))
