"""What is printed of all model versions together: text for people, documents for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from housepredict.domain.models import ModelVersion, Pointer
from housepredict.entrypoints.measures import OUT_OF_RANGE
from housepredict.entrypoints.terminal import table
from housepredict.entrypoints.version_report import model_document, number, source_text


def models_document(versions: Sequence[ModelVersion], pointer: Pointer) -> dict[str, Any]:
    """The versions as JSON, and which of them is promoted."""
    return {
        "models": [model_document(each, pointer.name) for each in versions],
        "promoted": pointer.name,
        "generation": pointer.generation,
    }


def models_text(versions: Sequence[ModelVersion], pointer: Pointer) -> str:
    """The versions as a table, with the promoted one marked."""
    if not versions:
        return "No model yet: train one with `housepredict train SALES.csv --price COLUMN`."
    rows = [
        (
            "*" if version.name == pointer.name else "",
            version.name,
            version.algorithm,
            source_text(version.source, short=True),
            number(version.evaluation.accuracy.mdape, 1, " %"),
            number(version.evaluation.accuracy.ppe10, 1, " %"),
            number(version.evaluation.accuracy.cod, 1),
        )
        for version in versions
    ]
    parts = [table(("", "version", "algorithm", "sales", "MdAPE", "PPE10", "COD"), rows, whole=("version",))]
    parts.append(f"* promoted, generation {pointer.generation}" if pointer.name else "None is promoted.")
    parts += [
        f"{version.name} is {OUT_OF_RANGE}: {', '.join(names)}"
        for version in versions
        if (names := version.evaluation.out_of_range)
    ]
    return "\n".join(parts)
