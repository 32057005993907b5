"""Stored documents as attrs values: JSON that an older or a newer release of housepredict may have written.

A reader ignores fields that it doesn't know, and gives missing fields their default. A missing field that may be None
is None. All else is checked: a value of another type, or no value where there is no default, is damage.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import attrs
from cattrs import BaseValidationError, transform_error
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

T = TypeVar("T")


class UnreadableDocument(ValueError):
    """A document is damaged."""


class NewerDocument(UnreadableDocument):
    """A document has values that a newer release of housepredict knows, such as another algorithm."""


def structure(document: object, kind: type[T]) -> T:
    """Read a value from a decoded JSON document.

    Raises:
        NewerDocument: if it would be readable but for members of enumerations that this release doesn't know.
        UnreadableDocument: if it is damaged; the message lists what is wrong and where.
    """
    try:
        return _converter.structure(document, kind)
    except BaseValidationError as error:
        reasons = "; ".join(transform_error(error, format_exception=_reason))
        newer = all(isinstance(each, _UnknownMember) for each in _causes(error))
        raise (NewerDocument if newer else UnreadableDocument)(reasons) from error
    except (TypeError, ValueError) as error:
        newer = isinstance(error, _UnknownMember)
        raise (NewerDocument if newer else UnreadableDocument)(_reason(error, None)) from error


def unstructure(value: object) -> Any:
    """The JSON document of a value, with every field."""
    return _converter.unstructure(value)


def is_refused(error: UnreadableDocument, kind: type[ValueError]) -> bool:
    """Whether the class of a value refused it with this error, and nothing else is wrong with the document."""
    cause = error.__cause__
    return cause is not None and all(isinstance(each, kind) for each in _causes(cause))


def documented(kind: type) -> tuple[attrs.Attribute[Any], ...]:
    """The fields of an attrs class that are in its documents: all but those that don't take part in comparisons."""
    return tuple(each for each in attrs.fields(attrs.resolve_types(kind)) if each.init and each.eq)


def configured(
    converter: JsonConverter, *, forbid_extra_keys: bool = False, omit_if_default: bool = False
) -> JsonConverter:
    """Teach a converter to read and write stored documents."""

    # cattrs alone would convert what it finds: "3" to 3, 1 to True, "abc" to ("a", "b", "c")
    def scalar(value: Any, kind: Any) -> Any:
        if type(value) is not kind and (type(value), kind) != (int, float):
            raise TypeError(value)
        return kind(value)

    for each in str, bool, int, float:
        converter.register_structure_hook(each, scalar)
    converter.register_structure_hook(StrEnum, _member)
    converter.register_structure_hook(datetime, _time)
    converter.register_structure_hook(UUID, lambda value, _: UUID(value))
    converter.register_unstructure_hook(UUID, str)

    @converter.register_structure_hook_factory(_is_list)
    def _list(kind: Any) -> Callable[[Any, Any], Any]:
        read = homogenous_tuple_structure_factory(kind, converter)

        def checked(value: Any, _: Any) -> Any:
            if type(value) is not list:
                raise TypeError(value)
            return read(value, kind)

        return checked

    @converter.register_structure_hook_factory(attrs.has)
    def _object(kind: Any) -> Callable[[Any, Any], Any]:
        read = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=forbid_extra_keys, **_omitted(kind))
        absent = {each.name: None for each in documented(kind) if each.default is attrs.NOTHING and _may_be_none(each)}

        def checked(value: Any, _: Any) -> Any:
            if type(value) is not dict:
                raise TypeError("not a JSON object")
            return read({**absent, **value}, kind)

        return checked

    @converter.register_unstructure_hook_factory(attrs.has)
    def _document(kind: Any) -> Callable[[Any], Any]:
        return make_dict_unstructure_fn(kind, converter, _cattrs_omit_if_default=omit_if_default, **_omitted(kind))

    return converter


class _UnknownMember(ValueError):
    """An enumeration has no such member in this release."""


def _member(value: Any, kind: type[StrEnum]) -> StrEnum:
    if not isinstance(value, str):
        raise TypeError(value)
    try:
        return kind(value)
    except ValueError:
        raise _UnknownMember(f"{value!r} is unknown to this release") from None


def _time(value: Any, _: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(value)
    return time


def _is_list(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is tuple and kind.__args__[-1] is ...


def _omitted(kind: type) -> dict[str, Any]:
    known = {each.name for each in documented(kind)}
    return {each.name: override(omit=True) for each in attrs.fields(kind) if each.init and each.name not in known}


def _may_be_none(attribute: attrs.Attribute[Any]) -> bool:
    kind = attribute.type
    return typing.get_origin(kind) in (typing.Union, types.UnionType) and types.NoneType in typing.get_args(kind)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors of single values."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    else:
        yield error


def _reason(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    return str(error) if isinstance(error, _UnknownMember) else format_exception(error, kind)


_converter = configured(make_converter())
