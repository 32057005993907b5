"""The commands to run and inspect a service: `housepredict serve | config | health | migrate | completion`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields

from housepredict.domain.errors import MissingExtra
from housepredict.domain.training_options import seconds
from housepredict.entrypoints.cli.terminal import Commands, answer, number_reader, reader, report, table
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import (
    IN_MEMORY,
    SECRETS,
    Settings,
    scheme_of,
    settings_and_origins,
    shown_database,
)

_HEALTH_TIMEOUT_S = 4.0
_HIDDEN = "(hidden)"


def add_service_commands(commands: Commands) -> None:
    """Add the commands to run and inspect a service."""
    serve = commands.add("serve", "Serve estimates over HTTP", _serve, as_json=False, demo=True)
    about = "address to listen on (0.0.0.0: all addresses) [env: HOUSEPREDICT_HOST] (default: 127.0.0.1)"
    serve.add_argument("--host", help=about)
    about = "port to listen on (0: any free port) [env: HOUSEPREDICT_PORT] (default: 5000)"
    serve.add_argument("--port", type=_port, help=about)
    serve.add_argument("--workers", metavar="N", help="worker processes [env: HOUSEPREDICT_WORKERS] (default: 1)")

    commands.add("config", "Show the settings in effect and where each comes from", _show_config)

    about = "Check whether the service on this machine is alive"
    health = commands.add("health", about, _health, as_json=False)
    health.add_argument("--host", help="address of the service [env: HOUSEPREDICT_HOST] (default: 127.0.0.1)")
    health.add_argument("--port", type=_port, help="port of the service [env: HOUSEPREDICT_PORT] (default: 5000)")

    about = "Apply pending migrations to the PostgreSQL database"
    migrate = commands.add("migrate", about, _migrate, as_json=False)
    about = "how long to wait for a database server that is still starting (default: 0)"
    migrate.add_argument("--wait", type=number_reader(float, seconds), default=0.0, metavar="SECONDS", help=about)
    about = "also remove database objects that only earlier releases use; first stop all services of earlier releases"
    migrate.add_argument("--post", action="store_true", help=about)

    about = "Print a completion script for your shell"
    completion = commands.add("completion", about, _print_completion, as_json=False)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="your shell")


@reader
def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise ValueError("must be a whole number from 0 to 65535")
    return int(text)


def _serve(application: Application, _options: argparse.Namespace) -> int:
    from housepredict.entrypoints.serve import serve

    return serve(application.settings, type(application))


def _show_config(_application: Application, options: argparse.Namespace) -> int:
    document = settings_document(*settings_and_origins(data_dir=options.data_dir))
    return answer(options, {"settings": document}, settings_text(document))


def settings_document(settings: Settings, origins: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """List each setting with its value (None if unset, hidden if secret) and the sources of the value.

    `origins` contains the sources by setting. A setting without sources has its default value.
    """
    names = {"given": "command line"}
    return [
        {
            "setting": setting.name,
            "value": _shown(setting.name, getattr(settings, setting.name)),
            "from": [names.get(origin, origin) for origin in origins.get(setting.name, ())] or ["default"],
        }
        for setting in fields(Settings)
    ]


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS and value and value != IN_MEMORY:
        return f"{scheme_of(value)}://{shown_database(value) or _HIDDEN}" if name.endswith("_url") else _HIDDEN
    if isinstance(value, tuple):
        return list(value) or None
    return str(value) if isinstance(value, Path) else value


def settings_text(document: Sequence[Mapping[str, Any]]) -> str:
    """Format the result of settings_document as a table."""
    rows = [(row["setting"], _setting_text(row["value"]), ", ".join(row["from"])) for row in document]
    return table(("setting", "value", "from"), rows)


def _setting_text(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "1" if value else "0"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(value)
    return str(value)


def _health(application: Application, _options: argparse.Namespace) -> int:
    """Check whether the service at the configured address is alive. Return exit code 0 if it is alive, else 1."""
    from http.client import HTTPConnection, HTTPException

    settings = application.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # only compared
    connection = HTTPConnection(host, settings.port, timeout=_HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        report(f"no response from {host}, port {settings.port}: {error}")
        return 1
    finally:
        connection.close()
    print("alive" if status == 200 else f"not alive: HTTP status {status}")
    return 0 if status == 200 else 1


def _migrate(application: Application, options: argparse.Namespace) -> int:
    has_database = application.storage.migrate(options.wait, post=options.post)
    print("The database is up to date." if has_database else "Nothing to migrate: PostgreSQL is not configured.")
    return 0


def _print_completion(_application: Application, options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        raise MissingExtra.named("terminal", "Shell completion") from error
    for action in _actions(options.parser):
        if action.dest == "data_dir":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab reads this attribute
        elif action.type is Path or action.dest in ("sales", "houses", "output"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(options.parser, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse has no public list of actions
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                yield from _actions(command)
