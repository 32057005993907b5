"""What the page at `/` loads: scripts, styles and an icon, under an address that changes with any of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from attrs import frozen

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
NAMES = (
    "accuracy.js",
    "asking.js",
    "drawing.js",
    "icon.svg",
    "page.css",
    "page.js",
    "predicting.js",
    "recent.js",
    "style.css",
    "training.js",
)


@frozen
class Assets:
    """Files by name, with their media types, and the digest of all of them."""

    files: Mapping[str, tuple[bytes, str]]
    digest: str


@cache
def assets() -> Assets:
    """The assets of this package."""
    folder = files(__package__)
    found = {name: (folder.joinpath(name).read_bytes(), _TYPES[name.rpartition(".")[2]]) for name in NAMES}
    # scripts import one another by relative addresses, so that one digest stands for all
    together = hashlib.sha256()
    for name, (content, _) in found.items():
        together.update(b"%b\n%d\n%b" % (name.encode(), len(content), content))
    return Assets(found, together.hexdigest()[:16])
