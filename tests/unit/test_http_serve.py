"""The greeting of the service and the errors of its listener."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from housepredict.domain.errors import HousepredictError
from housepredict.entrypoints.serve import _greeting, _listener, _place, _url
from housepredict.entrypoints.settings import Settings
from tests.http_service import application, lab_version

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (None, "in /data"),
        ("memory:", "in memory, and lost when the service stops"),
        ("postgresql://db/mldata", "in PostgreSQL, db/mldata"),
        (f"postgresql://me:{SECRET}@db:5433/mldata", "in PostgreSQL, db:5433/mldata"),
        (f"theirs://me:{SECRET}@there", "by the plug-in theirs"),
        (f"postgresql://me:{SECRET}@[::1]:5433/mldata", "in PostgreSQL, [::1]:5433/mldata"),
        (f"postgresql://me@db/mldata?password={SECRET}", "in PostgreSQL, db/mldata"),
        (f"postgresql://me:{SECRET}@a:1,b:2/mldata", "in PostgreSQL, a:1,b:2/mldata"),
        (f"postgresql://me:x@{SECRET}@db/mldata", "in PostgreSQL"),
        (f"postgresql://me:x/{SECRET}@db/mldata", "in PostgreSQL"),
        (f"postgresql://me:x@y/{SECRET}@db/mldata", "in PostgreSQL"),
        (f"postgresql://me:x?{SECRET}@db/mldata", "in PostgreSQL"),
        (f"postgresql://me:x#{SECRET}@db/mldata", "in PostgreSQL"),
    ],
)
def test_greeting_names_storage_without_password(url: str | None, place: str) -> None:
    assert _place(Settings(data_dir=Path("/data"), database_url=url)) == place


def test_greeting_marks_demo_model() -> None:
    assert "synthetic sales" in _greeting(application(lab_version(location=None)), "http://x")
    assert "synthetic" not in _greeting(application(lab_version()), "http://x")


def test_greeting_without_model_shows_train_command() -> None:
    greeting = _greeting(application(), "http://x")
    assert "housepredict train" in greeting
    assert "curl" not in greeting


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])
def test_printed_url_is_reachable(host: str) -> None:
    with _listener(host, 0) as listener:
        address, _, port = _url(listener).removeprefix("http://").rpartition(":")
        with socket.create_connection((address.strip("[]"), int(port))) as connection:
            assert connection.getpeername()[1] == listener.getsockname()[1] == int(port)


def test_ipv6_wildcard_accepts_ipv4() -> None:
    with _listener("::", 0) as listener:
        socket.create_connection(("127.0.0.1", listener.getsockname()[1])).close()


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "x" * 64 + ".example", "1.2.3.4.5"])
def test_foreign_address_is_reported_in_one_line(host: str) -> None:
    with pytest.raises(HousepredictError) as caught:
        _listener(host, 5000)
    assert host in str(caught.value)
    assert "--host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_port_in_use_is_reported_in_one_line() -> None:
    with _listener("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HousepredictError, match=f"port {port}.*in use"):
            _listener("127.0.0.1", port)
