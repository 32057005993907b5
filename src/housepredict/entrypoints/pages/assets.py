"""The files that the page at `/` loads: scripts, styles and an icon, at a URL that changes with their content."""

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
    """Content and media type of each file by its name, and the digest of all files."""

    files: Mapping[str, tuple[bytes, str]]
    digest: str


@cache
def assets() -> Assets:
    """Return the assets of this package."""
    folder = files(__package__)
    content = {name: (folder.joinpath(name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in NAMES}
    # scripts import one another by relative addresses, so that one digest stands for all
    together = hashlib.sha256()
    for name, (data, _) in content.items():
        together.update(b"%b\n%d\n%b" % (name.encode(), len(data), data))
    return Assets(content, together.hexdigest()[:16])
