"""Documents of other releases, with more or fewer fields."""

from __future__ import annotations

import copy
import io
import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import housepredict
from housepredict.domain.evaluation.drift import SNAPSHOT_FILE
from housepredict.domain.evaluation.held_out import HELD_OUT_FILE
from housepredict.domain.models import Artifact, digests_of

DOCUMENTS = Path(__file__).parent / "documents"
FIRST_RELEASE = DOCUMENTS / "first_release"
"""A data folder that the first release wrote, its SQLite files as SQL, and rows of its tables in PostgreSQL."""

MIGRATIONS = sorted(Path(housepredict.__file__).parent.glob("adapters/postgres/sql/*.sql"))

NEW = {"a": [1, 2.5, None, {"b": "…"}], "c": 1e300}
"""The value of a field that this release doesn't know."""

Step = str | int


def objects(kind: Any, document: Any, *path: Step) -> Iterator[tuple[type, tuple[Step, ...]]]:
    """Yield the class and path of each JSON object in a document that represents an attrs object."""
    if isinstance(kind, type) and attrs.has(kind):
        if document is None:
            return
        yield kind, path
        hints = typing.get_type_hints(kind)
        for name in document:
            if name in hints:
                yield from objects(hints[name], document[name], *path, name)
        return
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case typing.Union | types.UnionType:
            for each in arguments:
                if attrs.has(each):
                    yield from objects(each, document, *path)
        case origin if origin is tuple and arguments[-1] is ...:
            for position, each in enumerate(document):
                yield from objects(arguments[0], each, *path, position)
        case origin if isinstance(origin, type) and issubclass(origin, Mapping):
            for name, each in document.items():
                yield from objects(arguments[1], each, *path, name)


def at(document: Any, path: tuple[Step, ...]) -> Any:
    """Return the part of a document at a path."""
    for step in path:
        document = document[step]
    return document


def with_new_fields(kind: type, document: Any) -> Any:
    """Return a document with an unknown field in each of its objects."""
    newer = copy.deepcopy(document)
    for _, path in list(objects(kind, document)):
        at(newer, path)["of_a_newer_release"] = NEW
    return newer


def newer_artifact(artifact: Artifact) -> dict[str, bytes]:
    """Return the files of a version with unknown content added to each file."""
    held_out, snapshot = json.loads(artifact[HELD_OUT_FILE]), json.loads(artifact[SNAPSHOT_FILE])
    held_out |= {"new": NEW, "columns": ["new", *held_out["columns"]]}
    held_out["sales"] = [["new", *row] for row in held_out["sales"]]
    snapshot |= {"new": NEW}
    for each in (snapshot["estimates"], *snapshot["features"].values()):
        each["new"] = NEW
    files = {**artifact, HELD_OUT_FILE: json.dumps(held_out).encode(), SNAPSHOT_FILE: json.dumps(snapshot).encode()}
    for name in ("serving.npz", "explanation.npz"):
        files[name] = with_arrays(
            artifact[name], new=np.array([1.5]), **{"linear.new": np.arange(3), "new.part": np.array(["text"])}
        )
    return files


def with_arrays(content: bytes, **arrays: Any) -> bytes:
    """Return an archive with additional arrays."""
    with np.load(io.BytesIO(content)) as archive:
        kept = dict(archive)
    stream = io.BytesIO()
    np.savez_compressed(stream, **{**kept, **arrays})
    return stream.getvalue()


def manifest_for(document: Mapping[str, Any], artifact: Artifact) -> dict[str, Any]:
    """Return a manifest with the digests of these files."""
    return {**document, "digests": digests_of(artifact)}


def yoyo_database(migrations: int) -> str:
    """Return the SQL of a database to which a release with yoyo applied the first `migrations` migrations."""
    files = MIGRATIONS[:migrations]
    later = f"DELETE FROM _yoyo_migration WHERE migration_id > '{files[-1].stem}'"
    return "\n".join(file.read_text(encoding="utf-8") for file in [*files, DOCUMENTS / "yoyo_ledger.sql"]) + later
