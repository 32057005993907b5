"""The settings: one frozen value, read once from the environment and what the caller says."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, fields, frozen
from platformdirs import user_data_path

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.options import did_you_mean
from housepredict.entrypoints.borrowed_variables import LAB, OTEL, is_from_kubernetes, lab_database, traces_are_wanted
from housepredict.entrypoints.setting_values import (
    IN_MEMORY,
    POSTGRES,
    cors_origins,
    database_url,
    days,
    file_of,
    flag,
    one_of,
    predictor,
    schema,
    scheme_of,
    seconds,
    server_url,
    signing_key,
    token,
    whole,
)

PREFIX = "HOUSEPREDICT_"
SECRETS = ("database_url", "database_direct_url", "token", "signing_key")
"""Settings that are not to be shown as they are; each may be in a file instead."""
PROJECT_FOLDER = Path(".housepredict")

REMOVED: Mapping[str, str] = {
    "rate_limit": "limit requests in the ingress or reverse proxy in front of the service",
}
"""The settings that this release removed, and what to do instead. The next release reports them as unknown."""

_log = logging.getLogger(__name__)

_LOG_LEVELS = ("debug", "info", "warning", "error")
_LOG_FORMATS = ("auto", "json", "text")
_ACCESS_LOGS = ("all", "sampled", "errors", "none")
_MODEL_STORES = ("database", "folder")


@frozen
class Settings:
    """How housepredict runs.

    data_dir: where models, and predictions without a database, are kept.
    database_url: a PostgreSQL URL; one whose scheme is a plug-in's keeps predictions there; `memory:` keeps them in
        memory alone; None keeps them in SQLite in data_dir.
    database_direct_url: the same server without a pool such as pgbouncer; database_url then leads to the pool.
    database_schema: the schema of the tables in PostgreSQL; None for the first of the search path that has them.
    models: where model versions are: in the `database`, where there is one, or in the `folder` data_dir.
    predictor: the plug-in that loads model versions; None for housepredict's own way.
    demo: whether the demonstration model serves while no model is promoted.
    token: what writing over HTTP must bear; None leaves it to whoever calls from this very machine.
    signing_key: keys for model versions. The first signs, and a version that none of them signed is refused; without
        any, nothing is signed and no signature is looked at.
    spool_rows: most predictions that wait in data_dir while PostgreSQL does not take them.
    max_batch: most houses in one request. max_body: most bytes in a request's body.
    max_upload: most bytes of sales in a request's body.
    max_waiting: most houses that wait to be estimated, before requests are told to come back later.
    workers: how many processes serve; each of them has the limits above and below.
    max_connections: most connections that are open at a time.
    client_timeout: seconds in which a client has sent its headers, its body, and read its answer, each.
    idle_timeout: seconds for which a connection may stay open without a request.
    cors_origins: whose web pages may ask, `*` for everybody's.
    keep: days for which predictions are remembered; None for ever.
    drain: seconds for which a service that was told to stop says that it is not ready, and serves all the same.
    log_format: `json`, `text`, or `auto`: text for a terminal, else JSON.
    access_log: which requests are logged: `all`, `errors`, `none`, or `sampled`: errors, slow ones, and one a second.
    tracing: whether a service sends traces to where OpenTelemetry's variables say.
    """

    data_dir: Path
    database_url: str | None = field(default=None, repr=False)
    database_direct_url: str | None = field(default=None, repr=False)
    database_schema: str | None = None
    models: str = "database"
    predictor: str | None = None
    demo: bool = False
    host: str = "127.0.0.1"
    port: int = 5000
    token: str | None = field(default=None, repr=False)
    signing_key: tuple[bytes, ...] = field(default=(), repr=False)
    spool_rows: int = 1_000_000
    max_batch: int = 1000
    max_body: int = 2 * 1024 * 1024
    max_upload: int = 256 * 1024 * 1024
    max_waiting: int = 10_000
    workers: int = 1
    max_connections: int = 1000
    client_timeout: float = 15.0
    idle_timeout: float = 65.0
    cors_origins: tuple[str, ...] = ()
    drain: float = 0.0
    log_level: str = "info"
    keep: int | None = None
    log_format: str = "auto"
    access_log: str = "sampled"
    tracing: bool = False

    @property
    def postgres_url(self) -> str | None:
        """The URL of the PostgreSQL, None where predictions are elsewhere."""
        url = self.database_url
        return url if url is not None and scheme_of(url) in POSTGRES else None


def read_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings of an environment (the process's own by default); what is given and not None wins.

    Raises InvalidSettings with every problem at once. An empty variable counts as not set. Settings in REMOVED are
    ignored, and a warning in the log names each of them.
    """
    environment = os.environ if environment is None else environment
    for name, instead in REMOVED.items():
        if environment.get(PREFIX + name.upper()) or given.get(name) is not None:
            _log.warning("%s was removed and has no effect: %s", PREFIX + name.upper(), instead)
    return settings_and_origins(environment, **given)[0]


def settings_and_origins(
    environment: Mapping[str, str] | None = None, **given: Any
) -> tuple[Settings, Mapping[str, Sequence[str]]]:
    """As read_settings, and by field where the value is from: variables, or `given`; defaults are left out."""
    present = {name: value for name, value in (os.environ if environment is None else environment).items() if value}
    present = {name: value for name, value in present.items() if not is_from_kubernetes(name, value)}
    problems: list[str] = []
    values: dict[str, Any] = {"data_dir": PROJECT_FOLDER if PROJECT_FOLDER.is_dir() else None}
    values |= _read_variables(present, problems)
    origins: dict[str, Sequence[str]] = {name: [PREFIX + name.upper()] for name in values if name != "data_dir"}
    if f"{PREFIX}DATA_DIR" in present:
        origins["data_dir"] = [f"{PREFIX}DATA_DIR"]
    if any(name in present for name in LAB):
        lab = lab_database(present, problems)
        if "database_url_file" not in values and "database_url" not in values:
            values["database_url"], origins["database_url"] = lab, [name for name in LAB if name in present]
    if any(name in present for name in OTEL):
        values["tracing"] = traces_are_wanted(present)
        origins["tracing"] = [name for name in OTEL if name in present]
    for name, value in given.items():
        if value is None or name in REMOVED:
            continue
        values.pop(f"{name}_file", None)
        origins[name] = ["given"]
        try:
            values[name] = _READERS[name](str(value))
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += _contradictions(values)
    if problems:
        raise InvalidSettings(problems)
    for secret in SECRETS:
        if f"{secret}_file" in values:
            values[secret], origins[secret] = values.pop(f"{secret}_file"), [f"{PREFIX}{secret.upper()}_FILE"]
    settings = Settings(data_dir=_folder(values.pop("data_dir")), **values)
    return settings, {each.name: origins[each.name] for each in fields(Settings) if each.name in origins}


def _folder(given: Path | None) -> Path:
    """The data folder. Raises InvalidSettings where it follows from a home or a working folder that is not there."""
    try:
        return (given or user_data_path("housepredict")).expanduser().absolute()
    except (RuntimeError, OSError) as error:
        lacking = "this user has no home folder" if isinstance(error, RuntimeError) else "there is no working folder"
        raise InvalidSettings([f"{PREFIX}DATA_DIR must be set to an absolute path: {lacking}"]) from error


def _read_variables(present: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    values = {}
    for name, text in sorted(present.items()):
        if name.startswith(PREFIX):
            setting = name.removeprefix(PREFIX).lower()
            if setting in REMOVED:
                continue
            if setting not in _READERS:
                # without the prefix, which makes everything alike
                hint = did_you_mean(setting, _READERS, lambda close: PREFIX + close.upper())
                problems.append(f"{name} is no setting{hint}")
                continue
            try:
                values[setting] = _READERS[setting](text)
            except ValueError as error:
                # the value itself may be a secret
                problems.append(f"{name} {error}")
    return values


def variables() -> list[str]:
    """Every variable that is read, for the documentation and its test."""
    return [PREFIX + name.upper() for name in _READERS] + [*LAB, *OTEL]


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("workers", 1) > 1 and values.get("database_url") == IN_MEMORY:
        yield f"{PREFIX}WORKERS must be 1 with {IN_MEMORY}, of which each worker would have its own"
    if any(name.startswith("database_direct_url") for name in values) and (
        values.get("database_url", values.get("database_url_file")) in (None, IN_MEMORY)
    ):
        yield f"{PREFIX}DATABASE_DIRECT_URL is for a database with a pool in front of it: name the pool, too"
    for secret in SECRETS:
        if secret in values and f"{secret}_file" in values:
            yield f"{PREFIX}{secret.upper()}_FILE must not be set beside {PREFIX}{secret.upper()}"


_READERS: Mapping[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "database_url": database_url,
    "database_url_file": file_of(database_url),
    "database_direct_url": server_url,
    "database_direct_url_file": file_of(server_url),
    "database_schema": schema,
    "models": one_of(_MODEL_STORES),
    "predictor": predictor,
    "demo": flag,
    "host": str,
    "port": whole(0, 65535),
    "token": token,
    "token_file": file_of(token),
    "signing_key": signing_key,
    "signing_key_file": file_of(signing_key),
    "spool_rows": whole(1, 10**9),
    "max_batch": whole(1, 100_000),
    "max_body": whole(1024, 1024**3),
    "max_upload": whole(1024, 1024**4),
    "max_waiting": whole(1, 10_000_000),
    "workers": whole(1, 64),
    "max_connections": whole(1, 1_000_000),
    "client_timeout": seconds(0.1, 3600),
    "idle_timeout": seconds(0.1, 3600),
    "cors_origins": cors_origins,
    "drain": seconds(0, 3600),
    "log_level": one_of(_LOG_LEVELS),
    "log_format": one_of(_LOG_FORMATS),
    "access_log": one_of(_ACCESS_LOGS),
    "keep": days,
}
