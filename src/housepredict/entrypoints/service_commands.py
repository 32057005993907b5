"""The commands around a service: `housepredict config | health | migrate`."""

from __future__ import annotations

import argparse
import sys
from http.client import HTTPConnection, HTTPException

from housepredict.entrypoints import report
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.settings import settings_and_origins
from housepredict.entrypoints.settings_report import settings_document, settings_text

_PATIENCE = 4.0  # seconds


def show_config(_application: Application, options: argparse.Namespace) -> int:
    """The settings in effect, and where each is from."""
    settings, origins = settings_and_origins(data_dir=options.data_dir)
    if options.json:
        report.print_json({"settings": settings_document(settings, origins)})
    else:
        print(settings_text(settings, origins))
    return 0


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


def migrate(application: Application, options: argparse.Namespace) -> int:
    """Bring the database's tables up to date."""
    there_is_one = application.migrate(options.wait)
    print("The database is up to date." if there_is_one else "There is no PostgreSQL to bring up to date.")
    return 0
