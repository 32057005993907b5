"""Reads the URL of a database, and names what is wrong with it: libpq's own messages quote passwords."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from housepredict.domain.errors import UnusableDatabase

_SCHEMA = "set HOUSEPREDICT_DATABASE_SCHEMA instead"
_POOL = "name the server itself in HOUSEPREDICT_DATABASE_DIRECT_URL instead"
_CONNECTIONS = "leave it out: housepredict bounds its connections by itself"
_UTF8 = "leave it out: housepredict always uses UTF-8"
# What other clients have in their URLs
_INSTEAD = {
    "schema": _SCHEMA,
    "currentschema": _SCHEMA,
    "search_path": _SCHEMA,
    "pgbouncer": _POOL,
    "prepared_statements": _POOL,
    "preparethreshold": _POOL,
    "statement_cache_size": _POOL,
    "statement_cache_mode": _POOL,
    "connection_limit": _CONNECTIONS,
    "max_connections": _CONNECTIONS,
    "pool_max_conns": _CONNECTIONS,
    "pool_size": _CONNECTIONS,
    "pool_timeout": _CONNECTIONS,
    "charset": _UTF8,
    "encoding": _UTF8,
    "ssl": "set sslmode=require instead, or sslmode=disable",
}
_ENCODE = "special characters in its user or password must be percent-encoded"
_HOST = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[^:]*))?")


def read_address(conninfo: str) -> tuple[Mapping[str, Any], str]:
    """The parameters of a URL or a `key=value` text of libpq, and the place that it leads to, host:port/name.

    Raises UnusableDatabase with everything that is wrong.
    """
    conninfo = conninfo.strip()
    problems = list(_problems(conninfo)) if "://" in conninfo else []
    given: Mapping[str, Any] = {}
    if not problems:
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.Error:
            given = {}
        if conninfo and not given:
            problems = [_ENCODE]
    if problems:
        raise UnusableDatabase(f"the database URL cannot be read: {'; '.join(problems)}")
    host, port = str(given.get("host", "localhost")), str(given.get("port", 5432))
    host = f"[{host}]" if ":" in host and "," not in host else host
    return given, f"{host}:{port}/{given.get('dbname', given.get('user', 'postgres'))}"


def _problems(url: str) -> Iterator[str]:
    before, _, query = url.partition("://")[2].partition("?")
    authority, _, path = before.partition("/")
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    pairs = query.removesuffix("&").split("&") if query else []
    refused = [unquote(pair.partition("=")[0]) for pair in pairs if not _is_readable(pair)]
    # a bare character in a password would put the rest of it where a host, a port or a parameter is looked for
    if authority.count("@") > 1 or "@" in path or (refused and "@" in query and "@" not in authority):
        yield _ENCODE
        return
    yield from _problems_of_hosts(authority.rpartition("@")[2])
    for name in refused:
        if not name:
            yield "it has a parameter without a name: remove it, or the extra '&'"
        elif name not in known:
            yield f"it has an unknown parameter {name!r}: {_advice(name, known)}"
        else:
            yield (
                f"its parameter {name!r} must be NAME=VALUE, with special characters in the value percent-encoded, such"
                " as %3D for ="
            )


def _is_readable(pair: str) -> bool:
    """Whether libpq accepts a parameter of a URL, such as `sslmode=require`."""
    try:
        conninfo_to_dict(f"postgresql:///?{pair}")
    except psycopg.Error:
        return False
    return "=" in pair


def _problems_of_hosts(hosts: str) -> Iterator[str]:
    for host in hosts.split(","):
        found = _HOST.fullmatch(host)
        if not found:
            yield "its host is neither a name nor an address; an IPv6 address stands in brackets, such as [::1]"
        elif found["port"] and not (re.fullmatch("[0-9]{1,5}", found["port"]) and 0 < int(found["port"]) < 65536):
            yield f"its port must be a whole number from 1 to 65535; {_ENCODE}"


def _advice(name: str, known: list[str]) -> str:
    if instead := _INSTEAD.get(name.lower()):
        return instead
    close = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else "leave it out, or use one that libpq knows"
