"""Configuration of Sphinx, which builds a site from these pages: `make docs`."""

from __future__ import annotations

project = "housepredict"
author = "housepredict contributors"
extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["conf.py"]
html_theme = "furo"
html_title = "housepredict"
html_static_path: list[str] = []
# Links use the anchors that GitHub gives to headings.
myst_heading_anchors = 4
# A copied transcript is its commands alone; output has no button.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"
