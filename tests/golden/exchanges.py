"""Requests and commands, and the form in which their answers are recorded."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from attrs import field, frozen
from httpx2 import Response
from starlette.testclient import TestClient

from tests.golden.masks import mask_document, mask_text, structure_of
from tests.golden.world import NOON, CountedIds, clean_environment, http_service, prepare_folder, run_command

Entry = dict[str, Any]

USUAL_HEADERS: Mapping[str, str] = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
}
"""Headers that are recorded only if they differ. A missing one is recorded as null."""
_MOST_SHOWN = 600  # bytes of a request's body
OTHER_HEADERS = ("content-length", "x-request-id")
"""Headers that are not recorded unless the request has them: the length of the body, and a random id."""


@frozen
class Request:
    """A request over HTTP.

    Args:
        line: method and path, such as `GET /health`.
        json: the body, as JSON.
        body: the body, as text in UTF-8 or bytes.
        headers: its headers, beside the Content-Type of JSON.
        until: repeat the request until this text is in the answer. Another thread works toward it.
        shown: `all` of the body; of a page its `outline` or its `headings`; of metrics their `names`; or `headers`:
            nothing of the body.
    """

    line: str
    json: Any = None
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(factory=dict)
    until: str | None = None
    shown: str = "all"

    def send(self, client: TestClient) -> Response:
        """Send the request. Returns its answer."""
        method, path = self.line.split(" ", 1)
        type_ = {"Content-Type": "application/json"} if self.json is not None else {}
        for _ in range(2000):
            answer = client.request(method, path, content=self._content, headers={**type_, **self.headers})
            if self.until is None or self.until in answer.text:
                return answer
        raise AssertionError(f"{self.until} is not in the answer to {self.line}")

    def entry(self, client: TestClient) -> Entry:
        """Send the request. Returns it with its answer."""
        answer = self.send(client)
        entry: Entry = {"request": self.line}
        if self.headers:
            entry["with"] = dict(self.headers)
        if self._content is not None:
            entry["sent"] = _sent(self._content, self.json)
        return {**entry, "status": answer.status_code, "headers": self._headers(answer), "body": self._body(answer)}

    @property
    def _content(self) -> bytes | None:
        content = json.dumps(self.json) if self.json is not None else self.body
        return content.encode() if isinstance(content, str) else content

    def _headers(self, answer: Response) -> dict[str, str | None]:
        sent = {name.lower() for name in self.headers}
        known = {
            name: mask_text(value)
            for name, value in answer.headers.items()
            if name not in OTHER_HEADERS or name in sent
        }
        differing = {name: value for name, value in known.items() if USUAL_HEADERS.get(name) != value}
        return {**differing, **dict.fromkeys(name for name in USUAL_HEADERS if name not in known)}

    def _body(self, answer: Response) -> Any:
        text = mask_text(answer.text)
        match self.shown:
            case "headers":
                return "not recorded"
            case "names":
                return _metric_names(text)
            case "outline" | "headings":
                return _outline(text, only_headings=self.shown == "headings")
        if not answer.content:
            return None
        if "json" in answer.headers.get("content-type", ""):
            return mask_document(json.loads(text))
        if length := answer.headers.get("inference-header-content-length"):
            head, rest = answer.content[: int(length)], answer.content[int(length) :]
            return {"json": mask_document(json.loads(head)), "binary": rest.hex(" ")}
        return text.splitlines()


def _sent(content: bytes, document: Any) -> Any:
    if content.startswith(b"\x1f\x8b"):
        return "in gzip"  # whose bytes depend on the library
    if document is not None and len(content) <= _MOST_SHOWN:
        return document
    text = content.decode("utf-8", "backslashreplace")
    if not text.isprintable() and "\n" not in text:
        return f"{len(content)} bytes"
    return text.splitlines() if len(text) <= _MOST_SHOWN else f"{len(content)} bytes"


def _metric_names(text: str) -> list[str]:
    """The name, type, and labels of each metric."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in types}
    for sample, inside in re.findall(r"^(\w+)(\{.*\})? ", text, re.MULTILINE):
        name = next((each for each in types if sample in (each, *(f"{each}_{end}" for end in _SAMPLES))), None)
        if name:
            labels[name].update(re.findall(r"(\w+)=\"", inside))
    return [f"{name} {kind} {{{', '.join(sorted(labels[name]))}}}" for name, kind in sorted(types.items())]


_SAMPLES = ("bucket", "count", "sum", "created", "total", "info")
_SHOWN_ATTRIBUTES = ("id", "name", "type", "href", "src", "for", "value", "min", "max", "step", "required", "lang")
_HEADINGS = ("title", "h1", "h2", "h3", "h4")
_SHOWN_TAGS = ("a", "button", "form", "html", "input", "label", "link", "option", "script", "select")


class _Outline(HTMLParser):
    """The text of a page, and its links, forms, and scripts."""

    def __init__(self, *, only_headings: bool) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.only_headings = only_headings
        self.silent = only_headings

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.silent = tag not in _HEADINGS if self.only_headings else tag in ("script", "style")
        if tag in _SHOWN_TAGS and not self.only_headings:
            shown = (f' {name}="{value or ""}"' for name, value in attrs if name in _SHOWN_ATTRIBUTES)
            self.lines.append(f"<{tag}{''.join(shown)}>")

    def handle_endtag(self, tag: str) -> None:
        self.silent = self.only_headings

    def handle_data(self, data: str) -> None:
        if not self.silent and (text := " ".join(data.split())):
            self.lines.append(text)


def _outline(page: str, *, only_headings: bool) -> list[str]:
    parser = _Outline(only_headings=only_headings)
    parser.feed(page)
    return parser.lines


@frozen
class Service:
    """Requests to one service, in order.

    Args:
        name: the title in the recorded file.
        world: which model versions exist, and what fails; see `tests.golden.world`.
        requests: the requests.
        environment: the settings, as environment variables.
        options: how the service is reached; see `http_service`.
    """

    name: str
    world: str
    requests: Sequence[Request]
    environment: Mapping[str, str] = field(factory=dict)
    options: Mapping[str, Any] = field(factory=dict)

    def answers(self) -> list[Entry]:
        """Start the service and send every request. Returns the entries to record."""
        with ExitStack() as stack:
            folder = stack.enter_context(_folder())
            client = stack.enter_context(http_service(self.world, folder, self.environment, **self.options))
            return [_without_folder(request.entry(client), folder) for request in self.requests]


@frozen
class Command:
    """A command.

    Args:
        line: the command with its arguments, separated by spaces.
        at: the time that its clock shows.
        output_file: a file that it writes; the file is recorded, too; of a page, its headings.
        shown: `all` of standard output; the `structure` of a document; or `nothing`.
    """

    line: str
    at: datetime = NOON
    output_file: str | None = None
    shown: str = "all"

    def entry(self, world: str, ids: CountedIds) -> Entry:
        """Run the command. Returns it with its exit code and its output."""
        output, errors = _Stream(), _Stream()
        with redirect_stdout(output), redirect_stderr(errors), _logged_to(errors):
            code = run_command(world, self.line.split(), self.at, ids)
        written = _without_widths(output.text()) if str(Path.cwd()) in output.text() else output.text()
        entry: Entry = {"command": f"housepredict {self.line}", "exit": code, "stdout": self._shown(written)}
        # argparse formats the usage differently in each release of Python.
        lines = re.sub(r"^usage: (.*\n)( .*\n)*", "", errors.text())
        if lines:
            entry["stderr"] = mask_text(lines).splitlines()
        if self.output_file:
            text = mask_text(Path(self.output_file).read_text(encoding="utf-8"))
            is_page = self.output_file.endswith(".html")
            entry[self.output_file] = _outline(text, only_headings=True) if is_page else text.splitlines()
        return entry

    def _shown(self, text: str) -> Any:
        if self.shown == "nothing":
            return "not recorded"
        if self.shown == "structure":
            return structure_of(json.loads(text))
        try:
            return mask_document(json.loads(mask_text(text))) if text.startswith("{") else mask_text(text).splitlines()
        except ValueError:
            return mask_text(text).splitlines()


def _without_widths(table: str) -> str:
    """A table without padding, since the width of a column depends on the name of a folder."""
    return re.sub(r"-{3,}", "---", re.sub(r" {3,}", "  ", table))


class _Stream(io.TextIOWrapper):
    """A text stream in memory that also takes bytes, through its buffer."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@frozen
class Shell:
    """Commands in one working folder, in order.

    Args:
        name: the title in the recorded file.
        world: which model versions the data folder has; see `tests.golden.world`.
        commands: the commands.
        files: the files of the working folder, by name.
        environment: the environment variables that are set.
    """

    name: str
    world: str
    commands: Sequence[Command]
    files: Mapping[str, str] = field(factory=dict)
    environment: Mapping[str, str] = field(factory=dict)

    def answers(self) -> list[Entry]:
        """Run every command. Returns the entries to record."""
        with _folder() as folder, chdir(folder), _environment(self.environment):
            for name, text in self.files.items():
                Path(name).write_text(text, encoding="utf-8")
            data = folder / ".housepredict"
            data.mkdir()
            prepare_folder(self.world, data)
            ids = CountedIds()
            return [_without_folder(command.entry(self.world, ids), folder) for command in self.commands]


@contextmanager
def _logged_to(stream: TextIO) -> Iterator[None]:
    """Write warnings to a stream, as a process without a configured log does."""
    root, handler = logging.getLogger(), logging.StreamHandler(stream)
    handler.setLevel(logging.WARNING)
    handlers, root.handlers = root.handlers, [handler]
    try:
        yield
    finally:
        root.handlers = handlers


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="golden-") as name:
        yield Path(name).resolve()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    clean_environment(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _without_folder(entry: Entry, folder: Path) -> Entry:
    """Replace the name of a temporary folder."""
    found: Entry = json.loads(json.dumps(entry).replace(str(folder), "FOLDER"))
    return found
