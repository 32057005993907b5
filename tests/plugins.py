"""Packages with entry points, installed in a folder as pip would: modules and metadata."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path


def write_metadata(folder: Path, package: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write the metadata of an installed package: entry points by group and name."""
    metadata = folder / f"{package.replace('-', '_')}-0.1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {package}\nVersion: 0.1.0\n")
    lines = [
        line
        for group, named in entry_points.items()
        for line in (f"[{group}]", *(f"{name} = {stands_for}" for name, stands_for in named.items()))
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines))


def write_project_metadata(folder: Path, project: Path) -> None:
    """Write the metadata of a project from its pyproject.toml."""
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    write_metadata(folder, about["name"], about.get("entry-points", {}))
