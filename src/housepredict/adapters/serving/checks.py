"""What an array must be before a model computes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import Attribute
from numpy.typing import NDArray


def array_of(
    dtype: type[np.generic], dimensions: int, *, finite: bool = True
) -> Callable[[object, Attribute[NDArray[Any]], NDArray[Any]], None]:
    """An attrs validator: an array of this type and number of dimensions. It raises ValueError."""

    def check(_model: object, attribute: Attribute[NDArray[Any]], array: NDArray[Any]) -> None:
        if array.dtype != dtype or array.ndim != dimensions:
            expected = f"{dimensions} dimensions of {dtype.__name__}"
            raise ValueError(f"{attribute.name} must have {expected}, not {array.ndim} of {array.dtype}")
        if finite and not np.isfinite(array).all():
            raise ValueError(f"{attribute.name} must be finite")

    return check
