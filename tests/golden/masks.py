"""Masks for parts of answers that differ between machines, runs, or releases.

In texts, by `mask_text`:
    VERSION   the version of the package
    TAG       an ETag: it follows from the bytes of a document
    DIGEST    SHA-256 of files, of styles and of assets: they follow from formats and from pages
    HASH      the end of the name of a version that was trained: it follows from the version's files
    ID        the id of an unexpected failure, which is in the log
    TIME      the time of an upload, in the name of its file
    [Errno]   the number of an operating system's error
    Vary      without a header that only newer releases of Starlette name

In documents, by `mask_document`, numbers are rounded to 10 significant digits, since the last digits of a logarithm
depend on the machine. `structure_of` keeps only keys and types; it is for the results of a real training.

A service over sockets gives ids and times of its own, which `sockets` masks. Temporary folders are called FOLDER, and a
table that names one has columns of no particular width; see `exchanges`. `exchanges` also leaves out some headers,
argparse's usage lines, the values of metrics, and elements of pages without text or function.
"""

from __future__ import annotations

import re
from typing import Any

from housepredict import __version__

_TEXTS = (
    (re.compile(rf'"{re.escape(__version__)}"'), '"VERSION"'),
    (re.compile(rf"\bhousepredict {re.escape(__version__)}"), "housepredict VERSION"),
    (re.compile(r"'sha256-[^']+'"), "'sha256-DIGEST'"),
    (re.compile(r'^"[0-9a-f]{32}"$'), '"TAG"'),
    (re.compile(r"assets/[0-9a-f]{16}/"), "assets/DIGEST/"),
    (re.compile(r"\b(\d{8}-\d{6})-[0-9a-f]{8}\b"), r"\1-HASH"),
    (re.compile(r"urn:uuid:[0-9a-f-]{36}"), "urn:uuid:ID"),
    (re.compile(r"uploads/\d{8}-\d{6}-\d{6}-[0-9a-f]{16}"), "uploads/TIME-DIGEST"),
    (re.compile(r"\b(?!0{64})[0-9a-f]{64}\b"), "DIGEST"),
    (re.compile(r", Access-Control-Request-Private-Network"), ""),
    (re.compile(r"\[Errno \d+\]"), "[Errno]"),
)


def mask_text(text: str) -> str:
    """Mask the text of an answer or of a header."""
    for pattern, mask in _TEXTS:
        text = pattern.sub(mask, text)
    return text


def mask_document(document: Any) -> Any:
    """Round the numbers of a JSON document."""
    match document:
        case dict():
            return {name: mask_document(value) for name, value in document.items()}
        case list():
            return [mask_document(value) for value in document]
        case float():
            return float(f"{document:.10g}")
        case _:
            return document


def structure_of(document: Any) -> Any:
    """Keep the keys and types of a document. A list is represented by its first element."""
    match document:
        case dict():
            return {name: structure_of(value) for name, value in document.items()}
        case list():
            return [structure_of(value) for value in document[:1]]
        case None:
            return None
        case _:
            return type(document).__name__
