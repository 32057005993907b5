"""What the values of a feature are: by itself, since both features and their validation depend on it."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a feature's values are. (A boolean is neither a number nor a category: in JSON it is true or false.)"""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"
