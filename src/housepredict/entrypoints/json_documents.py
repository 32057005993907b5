"""JSON documents of attrs classes: each field says where its value comes from, and what it means.

The OpenAPI document describes the same classes; see `http/openapi.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cache, partial
from operator import attrgetter
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs
from attrs import frozen

Source = str | Callable[[Any], Any]

ITSELF = ""
"""The source of a field that reads the whole object."""
ABSENT: Any = object()
"""The value of an optional field that is left out."""


def keywords(**values: Any) -> tuple[tuple[str, Any], ...]:
    """Keywords of JSON Schema, to annotate types with; hashable, as typing demands."""
    return tuple(values.items())


def part(
    source: Source | None = None,
    about: str = "",
    *,
    optional: bool = False,
    nullable: bool = False,
    digits: int | None = None,
    is_public: bool = True,
) -> Any:
    """Define a field of an answer.

    Args:
        source: an attribute of the object that the answer is about, with dots for attributes of attributes, or a
            function of the object.
        about: the description in the OpenAPI document.
        optional: whether the field is left out where it is None.
        nullable: whether an optional field can be null, too; it is left out where it is ABSENT.
        digits: how many decimals the number is rounded to.
        is_public: whether the field is in answers over HTTP, too.
    """
    options = {
        "source": source,
        "about": about,
        "optional": optional,
        "omits_none": optional and not nullable,
        "digits": digits,
        "is_public": is_public,
    }
    return attrs.field(default=None, metadata=options) if optional else attrs.field(metadata=options)


def spread(source: Source | None = None, *, without: Sequence[str] = ()) -> Any:
    """Define fields of an answer that are those of another, or the items of a mapping.

    Args:
        source: as for `part`.
        without: the names of fields to leave out. A field that the answer defines later takes the place of one of the
            same name.
    """
    return attrs.field(metadata={"source": source, "without": without})


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(part, spread))
def document_class(kind: type[T]) -> type[T]:
    """Make an answer of a class: an attrs class without what answers don't need, for it loads in half the time."""
    return attrs.frozen(kw_only=True, eq=False, repr=False)(kind)


@frozen
class Part:
    """A field of an answer, as `part` defines it, with its type and how it becomes JSON."""

    name: str
    hint: Any
    source: Source
    about: str = ""
    optional: bool = False
    omits_none: bool = False
    digits: int | None = None
    is_public: bool = True
    is_mapping: bool = False
    read: Callable[[Any], Any] = attrs.field(init=False)
    convert: Callable[[Any], Any] | None = attrs.field(init=False)

    @read.default
    def _read(self) -> Callable[[Any], Any]:
        return _reader(self.source)

    @convert.default
    def _convert(self) -> Callable[[Any], Any] | None:
        return _converter(self.hint, self.digits)


def document(source: object, kind: type | None = None, **given: Any) -> dict[str, Any]:
    """Make the JSON document of an answer.

    Args:
        source: the object that the answer is about.
        kind: the class of the answer; by default that of `source`.
        given: the values of fields that `source` has no value for, or their documents.
    """
    if isinstance(source, dict):
        return source  # it is a document already
    made: dict[str, Any] = {}
    for each in parts_of(kind or type(source)):
        name = each.name
        value = given[name] if given and name in given else each.read(source)
        if value is None:
            if not each.omits_none:
                made[name] = None
        elif each.is_mapping:
            made.update(value)
        elif value is not ABSENT:
            made[name] = each.convert(value) if each.convert else value
    return made


@cache
def parts_of(kind: type) -> Sequence[Part]:
    """The fields of an answer, with those that are spread."""
    hints, parts = get_type_hints(kind, include_extras=True), {}
    for each in attrs.fields(kind):
        name, hint, options = each.name, hints[each.name], dict(each.metadata)
        source = options.pop("source", None)
        source = name if source is None else source
        without = options.pop("without", None)
        if without is None:
            hint = _without_none(hint) if options.get("omits_none") else hint
            parts[name] = Part(name, hint, source, **options)
        elif attrs.has(hint):
            inner = [one for one in parts_of(hint) if one.name not in without]
            parts |= {one.name: attrs.evolve(one, source=_joined(source, one.source)) for one in inner}
        else:
            parts[name] = Part(name, hint, source, is_mapping=True)
    return tuple(parts.values())


def _without_none(hint: Any) -> Any:
    return Union[tuple(each for each in get_args(hint) if each is not NoneType)]  # noqa: UP007  # of a tuple


def _joined(outer: Source, inner: Source) -> Source:
    if isinstance(outer, str) and isinstance(inner, str):
        return ".".join(filter(None, (outer, inner)))
    read_outer, read_inner = _reader(outer), _reader(inner)
    return lambda source: read_inner(read_outer(source))


def _reader(source: Source) -> Callable[[Any], Any]:
    if not isinstance(source, str):
        return source
    return attrgetter(source) if source else _same


def _same(value: Any) -> Any:
    return value


def _converter(hint: Any, digits: int | None = None) -> Callable[[Any], Any] | None:
    """How a value of a type, which is not None, becomes JSON; None for one that is JSON."""
    if digits is not None:
        return lambda number: round(number, digits)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _converter(arguments[0])
    if origin in (Union, UnionType):
        return _converter(_without_none(hint)) if NoneType in arguments else None
    if origin in (Mapping, dict):
        convert = _converter(arguments[1])
        return partial(_converted_items, convert) if convert else dict
    if origin in (Sequence, tuple, list):
        convert = _converter(arguments[0])
        return partial(_converted_list, convert) if convert else None
    if hint in (date, datetime):
        return hint.isoformat  # type: ignore[no-any-return]
    if hint is UUID:
        return str
    return partial(document, kind=hint) if attrs.has(hint) else None


def _converted_items(convert: Callable[[Any], Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: convert(value) for name, value in values.items()}


def _converted_list(convert: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    return [convert(value) for value in values]
