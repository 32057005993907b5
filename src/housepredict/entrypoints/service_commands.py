"""The commands around a service: `housepredict health | migrate`."""

from __future__ import annotations

import argparse
import sys
from http.client import HTTPConnection, HTTPException

from housepredict.entrypoints.bootstrap import Application

_PATIENCE = 4.0  # seconds


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
