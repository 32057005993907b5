"""The log of a process of its own: a JSON document a line for machines, text for a terminal.

What is said of a request has fields, and whatever else is logged while a request is served says which one it was.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from housepredict.entrypoints.settings import Settings

Fields = Mapping[str, Any]

# never changed in place, so that one default may serve all
of_request: ContextVar[Fields] = ContextVar("of_request", default={})  # noqa: B039
"""What names the request that is served: `request_id`, and `trace_id` where it has one."""


def set_up_logging(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Log to a stream, in the format that the settings name, for the whole process."""
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])


def fields_of(record: logging.LogRecord) -> Fields:
    """What a line says beside its message: given as `extra={"fields": …}`, and of the request that it is about."""
    fields: Fields = getattr(record, "fields", {})
    return {**of_request.get(), **fields}


class JsonFormatter(logging.Formatter):
    """A record as a document in one line; a traceback is the text of its `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        document = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A record to read, with its fields behind the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """The first line."""
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        return " ".join([super().formatMessage(record), *fields])
