"""The HTTP API reference: a self-contained HTML page, without scripts, that is rendered from an OpenAPI document."""

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
"""The Content-Security-Policy of the page."""

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "minItems": "minimum number of items:",
    "maxItems": "maximum number of items:",
    "minLength": "minimum length:",
    "maxLength": "maximum length:",
    "pattern": "pattern:",
    "default": "default:",
}


def api_page(document: Json) -> str:
    """Render an OpenAPI document as a self-contained HTML page."""
    info, components = document["info"], document["components"]
    operations = list(_operations(document))
    openapi = tag("a", "OpenAPI document", href=f"{document['servers'][0]['url'].rstrip('/')}/openapi.json")
    main = tag(
        "main",
        tag("p", f"{info['title']} {info['version']}", class_="kicker"),
        tag("h1", "HTTP API"),
        tag("p", f"{info['summary']}.", class_="lead"),
        *(tag("p", _prose(paragraph)) for paragraph in info["description"].split("\n\n")),
        tag("p", "Machine-readable version: ", openapi, "."),
        _contents(operations),
        *(
            section(group["name"], *(_operation(*route) for route in operations if group["name"] in route[2]["tags"]))
            for group in document["tags"]
        ),
        section("All routes", *_any_request(components)),
        section("Authentication", tag("p", components["securitySchemes"]["token"]["description"])),
        section("Schemas", *(_schema(name, schema) for name, schema in components["schemas"].items())),
    )
    return page(f"{info['title']}: HTTP API", main, tag("style", Markup(_STYLE)))


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield the method, path and OpenAPI object of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield method.upper(), path, operation


def _contents(operations: Sequence[tuple[str, str, Json]]) -> Markup:
    items = (
        tag("li", tag("a", tag("code", f"{method} {path}"), href=f"#{route['operationId']}"), f" {route['summary']}")
        for method, path, route in operations
    )
    return tag("nav", section("Routes", tag("ul", *items)), aria_label="Routes")


def _operation(method: str, path: str, operation: Json) -> Markup:
    route = f"{method} {path}"
    protected = tag("span", "needs a token", class_="badge off") if operation.get("security") else None
    parameters = operation.get("parameters")
    return tag(
        "article",
        tag("h3", tag("code", route), protected),
        tag("p", f"{operation['summary']}."),
        _description(operation),
        _parameters(f"Parameters of {route}", parameters) if parameters else None,
        *_body(operation.get("requestBody")),
        _responses(f"Responses of {route}", operation["responses"]),
        id=operation["operationId"],
    )


def _description(described: Json) -> Markup | None:
    return tag("p", _prose(described["description"])) if described.get("description") else None


def _parameters(caption: str, parameters: Sequence[Json]) -> Markup:
    rows = [
        (tag("code", item["name"]), item["in"], _kind_of(item["schema"]), _with_bounds(item, item["schema"]))
        for item in parameters
    ]
    return table(caption, ("name", "in", "type", "description"), rows, of_words=True)


def _body(body: Json | None) -> Iterator[Markup]:
    if body is None:
        return
    yield tag("h4", "Body" if body["required"] else "Body (optional)")
    for media_type, content in body["content"].items():
        schema = content.get("schema")
        yield tag("p", tag("code", media_type), *((": ", _kind_of(schema)) if schema else ()), ".")
        examples = [example["value"] for example in content.get("examples", {}).values()]
        if not examples and content.get("example") is not None:
            examples = [content["example"]]
        for example in examples:
            text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False)
            yield tag("pre", tag("code", text), tabindex="0")


def _responses(caption: str, responses: Json) -> Markup:
    """Return a table of the responses specific to a route. A separate section lists the responses that routes share."""
    rows = []
    for status, response in responses.items():
        if "$ref" not in response:
            content = (
                join(tag("code", media_type), tag("small", _kind_of(body["schema"])))
                for media_type, body in response.get("content", {}).items()
            )
            rows.append((status, _prose(response["description"]), join(*content), _headers(response)))
    return table(caption, ("status", "meaning", "content", "headers"), rows, of_words=True)


def _headers(response: Json) -> str:
    return ", ".join(name for name, header in response["headers"].items() if "$ref" not in header)


def _any_request(components: Json) -> Iterator[Markup]:
    yield _parameters("Parameters of all routes", list(components["parameters"].values()))
    headers = [(tag("code", name), _prose(header["description"])) for name, header in components["headers"].items()]
    yield table("Headers of all responses", ("header", "meaning"), headers, of_words=True)
    errors = [
        (status, _prose(error["description"]), _headers(error)) for status, error in components["responses"].items()
    ]
    yield table("Errors that any route can return", ("status", "meaning", "headers"), errors, of_words=True)


def _prose(words: str) -> Markup:
    """Convert text to markup. Parts in backticks become code elements."""
    return join(*(tag("code", part) if at % 2 else part for at, part in enumerate(words.split("`"))))


def _schema(name: str, schema: Json) -> Markup:
    required = schema.get("required", ())
    rows = [
        (
            tag("code", field),
            join(_kind_of(value), None if field in required else tag("small", "optional")),
            _with_bounds(value, value),
        )
        for field, value in schema.get("properties", {}).items()
    ]
    fields = table(f"Fields of {name}", ("field", "type", "description"), rows, of_words=True)
    content = fields if rows else tag("p", _kind_of(schema), ".")
    return tag("div", tag("h3", name), _description(schema), content, id=f"schema-{name}", class_="schema")


def _kind_of(schema: Json) -> Markup:
    """Describe the type of a schema's values in words, or link to the schema if it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return tag("a", name, href=f"#schema-{name}")
    for key in ("oneOf", "anyOf"):
        if key in schema:
            first, *others = map(_kind_of, schema[key])
            return join(first, *(join(" or ", other) for other in others))
    if "enum" in schema:
        return join(" or ".join("null" if value is None else str(value) for value in schema["enum"]))
    kinds = schema.get("type", "anything")
    words = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if "items" in schema:
        return join(f"{words} of ", _kind_of(schema["items"]))
    if isinstance(schema.get("additionalProperties"), Mapping):
        return join(f"{words} of ", _kind_of(schema["additionalProperties"]), " by name")
    return join(f"{words}, {schema['format']}" if "format" in schema else words)


def _with_bounds(described: Json, schema: Json) -> Markup:
    """Return the description of a value, followed by the bounds in its schema."""
    bounded = schema.get("items", schema) if schema.get("type") == "array" else schema
    bounds = []
    for key, words in _BOUNDS.items():
        if key in bounded:
            value = bounded[key]
            bounds.append(f"{words} {value if isinstance(value, str) else json.dumps(value)}")
    about = _prose(described.get("description", ""))
    return join(about, tag("small", "; ".join(bounds)) if bounds else None)
