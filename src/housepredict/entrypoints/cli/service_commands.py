"""The commands around a service: `housepredict config | health | migrate | completion`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from housepredict.domain.errors import MissingExtra
from housepredict.entrypoints.answer_documents import settings_document
from housepredict.entrypoints.cli.terminal import answer
from housepredict.entrypoints.cli.texts import settings_text
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import settings_and_origins

_PATIENCE = 4.0  # seconds


def show_config(_application: Application, options: argparse.Namespace) -> int:
    """The settings in effect, and where each is from."""
    settings, origins = settings_and_origins(data_dir=options.data_dir)
    document = {"settings": settings_document(settings, origins)}
    return answer(options, document, settings_text(settings, origins))


def health(application: Application, _options: argparse.Namespace) -> int:
    """Whether the service that these settings are for is alive: 0, or 1."""
    settings = application.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared with
    connection = HTTPConnection(host, settings.port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"housepredict: nothing answers at {host}, port {settings.port}: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    print("alive" if status == 200 else f"not alive: status {status}")
    return 0 if status == 200 else 1


def completion(_application: Application, options: argparse.Namespace) -> int:
    """Print what completes commands and options in a shell."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtra.named("terminal", "Completing commands") from error
    parser = options.parser()
    for action in _actions(parser):
        if action.dest == "data_dir":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # where shtab looks for it
        elif action.type is Path or action.dest in ("sales", "houses", "output"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to tell them
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)


def migrate(application: Application, options: argparse.Namespace) -> int:
    """Bring the database's tables up to date."""
    there_is_one = application.storage.migrate(options.wait, post=options.post)
    print("The database is up to date." if there_is_one else "There is no PostgreSQL to bring up to date.")
    return 0
