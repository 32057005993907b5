"""How Sphinx makes a site of these pages: `make docs`."""

from __future__ import annotations

project = "housepredict"
author = "housepredict contributors"
extensions = ["myst_parser"]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "housepredict"
html_static_path: list[str] = []
# Anchors in links are those that a repository's own view of Markdown makes.
myst_heading_anchors = 4
