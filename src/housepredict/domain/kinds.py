"""Kinds of features, in a module of their own because features and validation both import them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a feature's values are. (A boolean is neither a number nor a category: in JSON it is true or false.)"""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"
