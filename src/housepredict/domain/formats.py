"""Format numbers of stored documents: a number grows only when an older release would misread the document.

New fields don't change it: readers ignore fields they don't know, and missing fields have their default.
"""

from __future__ import annotations

from housepredict.domain.errors import NewerModel


def require_format(found: object, known: int, document: str) -> None:
    """Check that this release reads the format of a document.

    Raises:
        NewerModel: if a newer release made the document.
        ValueError: if the number is anything else but `known`.
    """
    if type(found) is int and found > known:
        raise NewerModel(
            f"{document} was made by a newer release of housepredict: it has format {found}, and this release reads "
            f"format {known}. Upgrade housepredict"
        )
    if type(found) is not int or found != known:
        raise ValueError(f"format {found!r}, not {known}")
