"""The scripts, styles and icon of the home page. Their URLs contain a digest of the content, so they can be cached."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from attrs import frozen

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_SCRIPTS = ("accuracy.js", "asking.js", "drawing.js", "page.js", "predicting.js", "recent.js", "training.js")
NAMES = sorted((*_SCRIPTS, "icon.svg", "page.css", "style.css"))


@frozen
class Assets:
    """The content and media type of each file, by name, and a digest of all files."""

    files: Mapping[str, tuple[bytes, str]]
    digest: str


@cache
def assets() -> Assets:
    """Read the assets in this package."""
    folder = files(__package__)
    content = {name: (folder.joinpath(name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in NAMES}
    # The scripts import each other by relative URL, so all files share one digest.
    digest = hashlib.sha256()
    for name, (data, _) in content.items():
        digest.update(b"%b\n%d\n%b" % (name.encode(), len(data), data))
    return Assets(content, digest.hexdigest()[:16])
