"""Draws every field of a value, those that are added later too: so that a store that drops one fails its suite.

A suite names the fields that take more than their type to draw. All others, with a default or without, are drawn by
their annotations, and so are the values inside of values.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import attrs
from attrs import field, frozen
from hypothesis import reject
from hypothesis import strategies as st

from housepredict.domain.errors import HousepredictError

T = TypeVar("T")
_MANY = 3  # values in a collection


@frozen
class Drawing:
    """Strategies by type; `by_type` has those for texts, numbers, times, and classes with rules of their own."""

    by_type: Mapping[Any, st.SearchStrategy[Any]] = field(factory=dict)

    def builds(self, kind: type[T], **strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
        """Draw values of an attrs class or a NamedTuple, with every field that takes part in comparisons.

        Raises:
            TypeError: if a strategy is for no field, or if a field's type is drawn only by a strategy of its own.
        """
        annotations = _fields(kind)
        if unknown := strategies.keys() - annotations.keys():
            raise TypeError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
        drawn = {
            name: strategies[name] if name in strategies else self._of(annotation, f"{kind.__name__}.{name}")
            for name, annotation in annotations.items()
        }

        def build(**values: Any) -> T:
            try:
                return kind(**values)
            except (HousepredictError, ValueError):  # the class has rules that its annotations don't tell
                reject()

        return st.builds(build, **drawn)

    def _of(self, annotation: Any, where: str) -> st.SearchStrategy[Any]:
        if annotation in self.by_type:
            return self.by_type[annotation]
        if annotation in _BY_TYPE:
            return _BY_TYPE[annotation]
        if isinstance(annotation, type) and _is_record(annotation):
            return self.builds(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return st.sampled_from(annotation)
        arguments = typing.get_args(annotation)
        match typing.get_origin(annotation):
            case typing.Union | types.UnionType:
                return st.one_of([self._of(each, where) for each in arguments])
            case typing.Literal:
                return st.sampled_from(arguments)
            case origin if origin is tuple and arguments[-1] is not ...:
                return st.tuples(*(self._of(each, where) for each in arguments))
            case origin if isinstance(origin, type) and issubclass(origin, Mapping):
                key, value = (self._of(each, where) for each in arguments)
                return st.dictionaries(key, value, max_size=_MANY)
            case origin if isinstance(origin, type) and issubclass(origin, Sequence):
                return st.lists(self._of(arguments[0], where), max_size=_MANY).map(tuple)
        raise TypeError(f"{where}: name a strategy for {annotation}")


def exactly(value: Any) -> Any:
    """A value, to be compared with the types of all that is in it: 1, 1.0 and True are equal, and not the same."""
    if _is_record(type(value)):
        return type(value), {name: exactly(getattr(value, name)) for name in _fields(type(value))}
    if isinstance(value, Mapping):
        return {name: exactly(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [exactly(each) for each in value]
    return type(value), value


def _is_record(kind: type) -> bool:
    return attrs.has(kind) or (issubclass(kind, tuple) and hasattr(kind, "_fields"))


def _fields(kind: Any) -> dict[str, Any]:
    """The annotations of the fields that make two values differ."""
    hints = typing.get_type_hints(kind)
    if not attrs.has(kind):
        return {name: hints[name] for name in kind._fields}
    return {each.name: hints[each.name] for each in attrs.fields(kind) if each.init and each.eq}


_BY_TYPE: Mapping[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    float: st.floats(-1e15, 1e15),
    date: st.dates(),
    UUID: st.uuids(),
    types.NoneType: st.none(),
}
