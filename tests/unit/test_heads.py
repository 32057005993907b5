"""A head that is known again means what the parser would have made of it, or it is not known again."""

from __future__ import annotations

from typing import Any

import httptools
from attrs import define, field
from hypothesis import example, given
from hypothesis import strategies as st

from housepredict.entrypoints.http.heads import Head

NAMES = st.sampled_from([b"Host", b"Accept", b"accept-encoding", b"User-Agent", b"X-Thing", b"Content-Type"])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30).map(str.encode)
LENGTHS = st.sampled_from([b"Content-Length: %d", b"content-length:%d", b"CONTENT-LENGTH: %d"])


@define
class Parsed:
    """What a parser says of bytes, and whether they are one request to the last."""

    url: bytes = b""
    headers: list[tuple[bytes, bytes]] = field(factory=list)
    body: bytes = b""
    ends: int = 0

    @classmethod
    def of(cls, data: bytes) -> Parsed:
        parsed = cls()
        httptools.HttpRequestParser(parsed).feed_data(data)
        return parsed

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.ends += 1

    def but_for_its_length(self) -> tuple[Any, ...]:
        return self.url, [header for header in self.headers if header[0] != b"content-length"]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    headers = [b"%b: %b" % each for each in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    body = draw(st.binary(min_size=1, max_size=300))
    headers.insert(draw(st.integers(0, len(headers))), draw(LENGTHS) % len(body))
    return b"\r\n".join([b"POST /predict HTTP/1.1", *headers, b"", body])


def known(data: bytes) -> Head | None:
    return Head.of(data, len(Parsed.of(data).body), {}, keep_alive=True)


@given(requests(), st.binary(min_size=1, max_size=2000))
def test_a_request_with_the_same_head_has_the_body_that_it_came_with(request: bytes, body: bytes) -> None:
    head = known(request)
    assert head
    assert head.body(b"%b%d%b%b" % (head.before, len(body), head.after, body)) == body


@given(
    requests(), st.integers(0, 500), st.integers(0, 3), st.binary(max_size=3) | st.sampled_from([b"\r\n", b"0", b"1"])
)
@example(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nA: b\r\n\r\n7", 34, 0, b"\r\nContent-Length: 1")
@example(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nA: b\r\n\r\n7", 39, 1, b"c")
@example(b"POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n7", 0, 0, b"")
def test_what_is_known_again_is_parsed_alike(request: bytes, at: int, cut: int, put: bytes) -> None:
    head = known(request)
    assert head
    changed = request[:at] + put + request[at + cut :]
    if body := head.body(changed):
        parsed, before = Parsed.of(changed), Parsed.of(request)
        assert (parsed.ends, parsed.body) == (1, body)
        assert parsed.but_for_its_length() == before.but_for_its_length()


def test_what_is_not_one_request_with_one_length_is_not_kept() -> None:
    head = b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\n"
    assert Head.of(head + b"\r\n7", 1, {}, keep_alive=True)
    for data, length in (
        (b"\r\n\r\n" + head + b"\r\n7", 1),
        (head + b"\r\n7" + head + b"\r\n7", 1),
        (head + b"Content-Length: 1\r\n\r\n7", 1),
        (head.replace(b"1\r\n", b"1 \r\n") + b"\r\n7", 1),
        (head + b"X: %b\r\n\r\n7" % (b"x" * 3000), 1),
        (head + b"\r\n", 0),
        (b"", 0),
    ):
        assert Head.of(data, length, {}, keep_alive=True) is None
