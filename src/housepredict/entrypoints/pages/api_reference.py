"""The API as a page to read: an OpenAPI document as HTML, without scripts and without anything from elsewhere."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from housepredict.entrypoints.pages.markup import Markup, join, page, section, table, tag

Json = Mapping[str, Any]

_STYLE = "".join(
    files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("style.css", "api_reference.css")
)
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that the page is sent with."""

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "minItems": "at least so many:",
    "maxItems": "at most so many:",
    "minLength": "characters, at least",
    "maxLength": "characters, at most",
    "pattern": "of the form",
    "default": "by default",
}


def api_page(document: Json) -> str:
    """A whole HTML document, of one file."""
    info = document["info"]
    operations = list(_operations(document))
    root = document["servers"][0]["url"].rstrip("/")
    main = tag(
        "main",
        tag("p", f"{info['title']} {info['version']}", class_="kicker"),
        tag("h1", "HTTP API"),
        tag("p", f"{info['summary']}.", class_="lead"),
        *(tag("p", _prose(paragraph)) for paragraph in info["description"].split("\n\n")),
        tag(
            "p",
            "For programs the same is an ",
            tag("a", "OpenAPI document", href=f"{root}/openapi.json"),
            ".",
        ),
        _contents(operations),
        *(
            section(each["name"], *(_operation(*one) for one in operations if each["name"] in one[2]["tags"]))
            for each in document["tags"]
        ),
        section("Any request", *_any_request(document["components"])),
        section("Access", tag("p", document["components"]["securitySchemes"]["token"]["description"])),
        section("Schemas", *(_schema(name, each) for name, each in document["components"]["schemas"].items())),
    )
    return page(f"{info['title']}: HTTP API", main, tag("style", Markup(_STYLE)))


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield method.upper(), path, operation


def _contents(operations: Sequence[tuple[str, str, Json]]) -> Markup:
    items = (
        tag("li", tag("a", tag("code", f"{method} {path}"), href=f"#{one['operationId']}"), f" {one['summary']}")
        for method, path, one in operations
    )
    return tag("nav", section("Routes", tag("ul", *items)), aria_label="Routes")


def _operation(method: str, path: str, operation: Json) -> Markup:
    protected = tag("span", "needs a token", class_="badge off") if operation.get("security") else None
    about = operation.get("description")
    parameters, body = operation.get("parameters"), operation.get("requestBody")
    return tag(
        "article",
        tag("h3", tag("code", f"{method} {path}"), protected),
        tag("p", f"{operation['summary']}."),
        tag("p", _prose(about)) if about else None,
        _parameters(f"Parameters of {method} {path}", parameters) if parameters else None,
        *(_body(body) if body else ()),
        _responses(f"Answers to {method} {path}", operation["responses"]),
        id=operation["operationId"],
    )


def _parameters(caption: str, parameters: Sequence[Json]) -> Markup:
    rows = [
        (tag("code", each["name"]), each["in"], kind_of(each["schema"]), _with_bounds(each, each["schema"]))
        for each in parameters
    ]
    return table(caption, ("name", "in", "type", "about"), rows, of_words=True)


def _body(body: Json) -> Iterator[Markup]:
    yield tag("h4", "Body" if body["required"] else "Body, which may be left out")
    for media_type, content in body["content"].items():
        kind = content.get("schema")
        yield tag("p", tag("code", media_type), *((": ", kind_of(kind)) if kind else ()), ".")
        shown = [each["value"] for each in content.get("examples", {}).values()] or [
            each for each in [content.get("example")] if each is not None
        ]
        for each in shown:
            text = each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
            yield tag("pre", tag("code", text), tabindex="0")


def _responses(caption: str, responses: Json) -> Markup:
    """What any request may be answered is said elsewhere, once."""
    rows = [
        (
            status,
            _prose(answer["description"]),
            join(*(_content(*each) for each in answer.get("content", {}).items())),
            _headers(answer),
        )
        for status, answer in responses.items()
        if "$ref" not in answer
    ]
    return table(caption, ("status", "meaning", "content", "headers"), rows, of_words=True)


def _headers(answer: Json) -> str:
    return ", ".join(name for name, each in answer["headers"].items() if "$ref" not in each)


def _any_request(components: Json) -> Iterator[Markup]:
    yield _parameters("Parameters of any request", list(components["parameters"].values()))
    headers = [(tag("code", name), _prose(each["description"])) for name, each in components["headers"].items()]
    yield table("Headers of any answer", ("header", "meaning"), headers, of_words=True)
    problems = [
        (status, _prose(answer["description"]), _headers(answer)) for status, answer in components["responses"].items()
    ]
    caption = "What any request may be answered, but for what the routes say"
    yield table(caption, ("status", "meaning", "headers"), problems, of_words=True)


def _prose(words: str) -> Markup:
    """Words with `code` among them."""
    parts = words.split("`")
    return join(*(tag("code", each) if at % 2 else each for at, each in enumerate(parts)))


def _content(media_type: str, content: Json) -> Markup:
    return join(tag("code", media_type), tag("small", kind_of(content["schema"])))


def _schema(name: str, schema: Json) -> Markup:
    required = set(schema.get("required", ()))
    rows = [
        (
            tag("code", field),
            join(kind_of(each), None if field in required else tag("small", "may be left out")),
            _with_bounds(each, each),
        )
        for field, each in schema.get("properties", {}).items()
    ]
    about = schema.get("description")
    return tag(
        "div",
        tag("h3", name),
        tag("p", _prose(about)) if about else None,
        table(f"Fields of {name}", ("field", "type", "about"), rows, of_words=True)
        if rows
        else tag("p", kind_of(schema), "."),
        id=f"schema-{name}",
        class_="schema",
    )


def kind_of(schema: Json) -> Markup:
    """What values a schema stands for, in words; a schema with a name is a link to it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return tag("a", name, href=f"#schema-{name}")
    for key in ("oneOf", "anyOf"):
        if key in schema:
            first, *others = map(kind_of, schema[key])
            return join(first, *(join(" or ", each) for each in others))
    if "enum" in schema:
        return join(" or ".join("null" if each is None else str(each) for each in schema["enum"]))
    kinds = schema.get("type", "anything")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if "items" in schema:
        return join(f"{words} of ", kind_of(schema["items"]))
    if isinstance(schema.get("additionalProperties"), Mapping):
        return join(f"{words} of ", kind_of(schema["additionalProperties"]), " by name")
    return join(f"{words}, {schema['format']}" if "format" in schema else words)


def _with_bounds(told: Json, schema: Json) -> Markup:
    """What is said of a value, and between what it has to lie."""
    own = schema.get("items", schema) if schema.get("type") == "array" else schema
    bounds = [f"{words} {_literal(own[key])}" for key, words in _BOUNDS.items() if key in own]
    about = told.get("description", "")
    return join(_prose(about), tag("small", "; ".join(bounds)) if bounds else None)


def _literal(value: object) -> str:
    """A value as JSON has it; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)
