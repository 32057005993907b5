"""Log formats: JSON lines, text for a terminal, and request ids."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from housepredict.entrypoints.settings import read_settings
from housepredict.entrypoints.telemetry import JsonFormatter, TextFormatter, request_fields, set_up_logging


def record(message: str, *arguments: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("housepredict.x", logging.WARNING, "x.py", 1, message, arguments, None)
    vars(made).update(more)
    return made


def test_json_record_is_one_line() -> None:
    line = JsonFormatter().format(record("two\nlines of %s", "Häuser", fields={"status": 200}))
    assert "\n" not in line
    document = json.loads(line)
    assert document.pop("time").endswith("+00:00")
    assert document == {
        "level": "warning",
        "logger": "housepredict.x",
        "message": "two\nlines of Häuser",
        "status": 200,
    }


def test_json_record_contains_traceback() -> None:
    try:
        raise ZeroDivisionError("why")
    except ZeroDivisionError:
        line = JsonFormatter().format(record("failed", exc_info=sys.exc_info()))
    assert "\n" not in line
    assert json.loads(line)["exception"].splitlines()[-1] == "ZeroDivisionError: why"


def test_text_record_ends_with_fields() -> None:
    assert (
        TextFormatter()
        .format(record("said", fields={"status": 200}))
        .endswith("WARNING housepredict.x: said status=200")
    )


def test_records_include_request_id() -> None:
    token = request_fields.set({"request_id": "one"})
    try:
        assert json.loads(JsonFormatter().format(record("said")))["request_id"] == "one"
        assert TextFormatter().format(record("said")).endswith("said request_id=one")
    finally:
        request_fields.reset(token)
    assert "request_id" not in JsonFormatter().format(record("said"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("text", io.StringIO(), False),
    ],
)
def test_format_follows_setting_and_terminal(log_format: str, stream: io.StringIO, is_json: bool) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        settings = read_settings({"HOUSEPREDICT_LOG_FORMAT": log_format, "HOUSEPREDICT_LOG_LEVEL": "error"})
        set_up_logging(settings, stream)
        logging.getLogger("housepredict.x").warning("not said")
        logging.getLogger("housepredict.x").error("said")
    finally:
        root.handlers[:], root.level = handlers, level
        root.setLevel(level)
    [line] = stream.getvalue().splitlines()
    assert line.startswith("{") == is_json
