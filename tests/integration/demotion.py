"""Two servers behind one host name. The first is demoted, and the name then leads to the second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
from attrs import frozen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from housepredict.adapters.postgres.predictions import PostgresPredictions
from tests.integration.load import caught_up, eventually, stored
from tests.integration.relay import Relay
from tests.integration.services import LAB_HOUSE, Service, running
from tests.postgres_servers import Server

SALE = {"price": 250_000, "date": "2025-06-02"}
_READ_ONLY = "ALTER SYSTEM SET default_transaction_read_only = {}"
_OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'housepredict'"


@frozen
class Pair:
    """A database on each of two servers. `relay` plays the role of the host name and leads to the first server."""

    first: str
    second: str
    relay: Relay

    @property
    def named(self) -> str:
        """The conninfo that uses the shared name."""
        return make_conninfo(self.first, host="127.0.0.1", port=self.relay.port)

    def demote(self) -> None:
        """Make the first server read-only and point the name at the second."""
        _set_read_only(self.first, "on")
        self.relay.lead_to(self.second)


@contextmanager
def pair(first: str, other: Server) -> Iterator[Pair]:
    """Yield the database and a database of the same name on the other server, both with tables."""
    name = str(conninfo_to_dict(first)["dbname"])
    with psycopg.connect(other.conninfo, autocommit=True) as administrator:
        administrator.execute(f"CREATE DATABASE {name}")
    second = make_conninfo(other.conninfo, dbname=name)
    try:
        for conninfo in (first, second):
            PostgresPredictions.open(conninfo).close()
        with Relay.before(first).running() as relay:
            yield Pair(first, second, relay)
    finally:
        _set_read_only(first, "off")
        with psycopg.connect(other.conninfo, autocommit=True) as administrator:
            administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")


def check_service_follows_demotion(folder: Path, servers: Pair, **variables: str) -> None:
    """Check that the service stores everything after a demotion on the second server and leaves no old connection."""
    with running(folder, "--demo", **variables) as service, httpx2.Client(base_url=service.url, timeout=30) as client:
        before = _estimate_and_sell(client, "before")
        caught_up(service)
        servers.demote()
        after = [_estimate(client) for _ in range(20)]
        caught_up(service)
        eventually(lambda: {id_ for id_, _ in stored(servers.second)} >= set(after))
        assert {id_ for id_, _ in stored(servers.first)} == before
        eventually(lambda: _sell(client, after[0], "after") == 201)
        eventually(lambda: not _connections(servers.first))
        assert _ready(service)


def _estimate(client: httpx2.Client, **headers: str) -> str:
    answer = client.post("/predict", json=LAB_HOUSE, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def _estimate_and_sell(client: httpx2.Client, key: str) -> set[str]:
    ids = {_estimate(client), _estimate(client, **{"Idempotency-Key": key})}
    assert _sell(client, min(ids), key) == 201
    for path in ("/predictions", "/models", "/trainings"):
        assert client.get(path).status_code == 200
    return ids


def _sell(client: httpx2.Client, id_: str, key: str) -> int:
    return client.post(f"/predictions/{id_}/sale", json=SALE, headers={"Idempotency-Key": key}).status_code


def _ready(service: Service) -> bool:
    return httpx2.get(f"{service.url}/health/ready").status_code == 200


def _connections(conninfo: str) -> int:
    with psycopg.connect(conninfo) as connection:
        [(count,)] = connection.execute(_OURS).fetchall()
    return int(count)


def _set_read_only(conninfo: str, value: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as administrator:
        administrator.execute(_READ_ONLY.format(value))
        administrator.execute("SELECT pg_reload_conf()")
