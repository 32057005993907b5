"""Tools to define JSON documents as attrs classes.

Each field of a document class declares where its value comes from and what it means. `http/openapi.py` generates the
OpenAPI schemas from the same classes.
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
"""The `source` of a field whose value is the whole source object rather than one of its attributes."""
ABSENT: Any = object()
"""A field value that makes `document` omit the field."""


def keywords(**values: Any) -> tuple[tuple[str, Any], ...]:
    """Return JSON Schema keywords in a hashable form, as required for use in `Annotated`."""
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
    """Define a field of a document class.

    Args:
        source: where the value comes from: the path of an attribute of the source object, such as `estimate.price`,
            or a function that accepts the source object. Defaults to the attribute with the field's name.
        about: the field's description in the OpenAPI document.
        optional: whether the field is omitted if its value is None.
        nullable: whether an optional field may be null. If so, it is omitted only if its value is ABSENT.
        digits: the number of decimals to round to.
        is_public: whether the field is included in HTTP responses.
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
    """Include the fields of another document class, or the items of a mapping, in a document class.

    If the including class later defines a field with the same name as an included field, the later field wins.

    Args:
        source: where the included values come from, as in `part`.
        without: the names of fields to leave out.
    """
    return attrs.field(metadata={"source": source, "without": without})


T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(part, spread))
def document_class(kind: type[T]) -> type[T]:
    """Turn a class into a document class: a frozen attrs class with keyword-only arguments.

    No `__eq__` and `__repr__` are generated. This halves the import time.
    """
    return attrs.frozen(kw_only=True, eq=False, repr=False)(kind)


@frozen
class Part:
    """A field of a document class.

    Attributes:
        name: the name of the field.
        hint: the type of the field.
        source: where the value comes from (see `part`).
        about: the field's description in the OpenAPI document.
        optional: whether the field may be omitted.
        omits_none: whether the field is omitted if its value is None.
        digits: the number of decimals to round to, or None to not round.
        is_public: whether the field is included in HTTP responses.
        is_mapping: whether the value is a mapping whose items become fields of the document.
        read: the function that reads the value from the source object.
        convert: the function that converts the value to JSON, or None if no conversion is needed.
    """

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


def document(source: object, kind: type | None = None, **overrides: Any) -> dict[str, Any]:
    """Build the JSON document that describes an object.

    Args:
        source: the object to describe. A dict is returned unchanged, because it is a document already.
        kind: the document class. Defaults to the class of `source`.
        **overrides: field values to use instead of reading them from `source`.
    """
    if isinstance(source, dict):
        return source  # a document already
    items: dict[str, Any] = {}
    for part_ in parts_of(kind or type(source)):
        name = part_.name
        value = overrides[name] if overrides and name in overrides else part_.read(source)
        if value is None:
            if not part_.omits_none:
                items[name] = None
        elif part_.is_mapping:
            items.update(value)
        elif value is not ABSENT:
            items[name] = part_.convert(value) if part_.convert else value
    return items


@cache
def parts_of(kind: type) -> Sequence[Part]:
    """Return the fields of a document class, including those that it includes with `spread`."""
    hints, parts = get_type_hints(kind, include_extras=True), {}
    for attribute in attrs.fields(kind):
        name, hint, options = attribute.name, hints[attribute.name], dict(attribute.metadata)
        source = options.pop("source", None)
        source = name if source is None else source
        without = options.pop("without", None)
        if without is None:
            hint = _without_none(hint) if options.get("omits_none") else hint
            parts[name] = Part(name, hint, source, **options)
        elif attrs.has(hint):
            included = [inner for inner in parts_of(hint) if inner.name not in without]
            parts |= {inner.name: attrs.evolve(inner, source=_joined(source, inner.source)) for inner in included}
        else:
            parts[name] = Part(name, hint, source, is_mapping=True)
    return tuple(parts.values())


def _without_none(hint: Any) -> Any:
    return Union[tuple(option for option in get_args(hint) if option is not NoneType)]  # noqa: UP007  # of a tuple


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
    """Return a function that converts values of type `hint` to JSON, or None if they need no conversion.

    If `digits` isn't None, the function rounds numbers to this number of decimals.
    """
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
