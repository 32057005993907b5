"""Content negotiation between HTML and JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from housepredict.entrypoints.http.requests import prefers_html


def accepting(*values: str) -> Headers:
    return Headers(raw=[(b"accept", value.encode("latin-1")) for value in values])


@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        "text/html",
        "TEXT/HTML ; charset=utf-8",
        "application/json;q=0.5, text/html;q=0.9",
        "application/json, text/html",
        "text/html;q=0.001",
    ],
)
def test_browser_gets_html(accept: str) -> None:
    assert prefers_html(accepting(accept))
    assert prefers_html(accepting(*accept.split(",")))


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "",
        "application/json",
        "text/*",
        "text/html;q=0",
        "text/html;q=0.5, application/json",
        "text/htmlx",
        ";q=1",
    ],
)
def test_program_gets_json(accept: str) -> None:
    assert not prefers_html(accepting(accept))


def test_missing_accept_header_gets_json() -> None:
    assert not prefers_html(accepting())


@given(st.text(st.characters(max_codepoint=255)))
def test_any_accept_header_is_parsed(accept: str) -> None:
    assert prefers_html(accepting(accept)) in (True, False)
