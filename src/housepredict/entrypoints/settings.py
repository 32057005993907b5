"""The settings: a frozen value, read once from the environment and from the caller's arguments."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from attrs import field, fields, frozen
from platformdirs import user_data_path

from housepredict.domain.errors import InvalidSettings
from housepredict.domain.validation import did_you_mean
from housepredict.entrypoints.plugins import PREDICTORS, REPOSITORIES, installed

T = TypeVar("T")

PREFIX = "HOUSEPREDICT_"
PROJECT_FOLDER = Path(".housepredict")
IN_MEMORY = "memory:"
POSTGRES = ("postgresql", "postgres")
MIN_TOKEN = 16
REMOVED: Mapping[str, str] = {
    "rate_limit": "limit requests in the ingress or reverse proxy in front of the service",
}
"""Settings that this release removed, and what to do instead. The next release reports them as unknown."""

# The tutorial's variables and their defaults; housepredict adds the last one.
LAB = {
    "DB_HOST": "localhost",
    "DB_PORT": "5432",
    "DB_NAME": "mldata",
    "DB_USER": "postgres",
    "DB_PASSWORD": "",
    "DB_PASSWORD_FILE": "",
}
# The OpenTelemetry variables that turn traces on or off. Its SDK reads all others.
OTEL = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
# Kubernetes sets variables for each Service in every pod. A Service named housepredict or db must not configure us.
_KUBERNETES = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://")
_MAX_IDENTIFIER = 63  # bytes
_MAX_DAYS = 20_000  # no prediction can be older
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_log = logging.getLogger(__name__)


def _boolean(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("must be 1 or 0")
    return _FLAGS[text.lower()]


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of seconds from `low` to `high`."""

    def read(text: str) -> float:
        if not (re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) and low <= float(text) <= high):
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(text)

    return read


def _days(text: str) -> int:
    days = re.fullmatch(r"([1-9]\d{0,4})d", text, re.ASCII)
    if not days or int(days[1]) > _MAX_DAYS:
        raise ValueError(f"must be a number of days from 1d to {_MAX_DAYS}d, such as 400d")
    return int(days[1])


def _one_of(*words: str) -> Callable[[str], str]:
    """Return a reader of one of some words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}{did_you_mean(text, words)}")
        return text.lower()

    return read


def _database_url(text: str) -> str:
    text = text.strip()
    scheme = scheme_of(text)
    if text != IN_MEMORY and scheme not in POSTGRES and scheme not in (plugins := installed(REPOSITORIES)):
        schemes = ", ".join(f"{name}://" for name in plugins) or "none is installed"
        raise ValueError(f"must be a postgresql:// URL, {IN_MEMORY}, or a URL of an installed plug-in ({schemes})")
    return text


def _server_url(text: str) -> str:
    if scheme_of(text.strip()) not in POSTGRES:
        raise ValueError("must be a postgresql:// URL")
    return text.strip()


def _schema(text: str) -> str:
    text = text.strip()
    if len(text.encode()) > _MAX_IDENTIFIER or "\0" in text or text.startswith("pg_") or not text:
        raise ValueError(f"must be a schema name of at most {_MAX_IDENTIFIER} bytes that does not start with pg_")
    return text


def _predictor(text: str) -> str:
    if text not in (names := installed(PREDICTORS)):
        raise ValueError(f"must be an installed plug-in of {PREDICTORS} ({', '.join(names) or 'none is installed'})")
    return text


def _token(text: str) -> str:
    text = text.strip()
    if len(text) < MIN_TOKEN or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"must have at least {MIN_TOKEN} ASCII characters and no spaces")
    return text


def _signing_key(text: str) -> tuple[bytes, ...]:
    keys = text.replace(",", " ").split()
    if not keys or not all(re.fullmatch("([0-9A-Fa-f]{2}){32,}", key) for key in keys):
        raise ValueError("must be a key of at least 64 hexadecimal digits (32 bytes), or several separated by spaces")
    return tuple(map(bytes.fromhex, keys))


def _cors_origins(text: str) -> tuple[str, ...]:
    origins = tuple(text.lower().replace(",", " ").split())
    if not origins or not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be * or origins such as https://prices.example, without paths, separated by commas")
    return origins


def _file_of(read: Callable[[str], T]) -> Callable[[str], T]:
    """Return a reader of a secret that is stored in a file."""

    def read_file(path: str) -> T:
        try:
            # A decoding error would show the secret; with "replace", `read` rejects a file that is not UTF-8.
            return read(Path(path.strip()).read_text(encoding="utf-8-sig", errors="replace").strip())
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    return read_file


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, "" if it has none."""
    # without urlsplit, whose errors about other parts show the password
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_database(url: str) -> str:
    """Return the `host:port/name` of a database URL without its password; "" if they can't be separated safely."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    credentials, _, host = parts.netloc.rpartition("@")
    # An unescaped @ or / in the password would make a part of it look like the host or the name.
    return f"{host}{parts.path}" if url.count("@") == bool(credentials) else ""


def _read_by(read: Callable[[str], Any]) -> Mapping[str, Callable[[str], Any]]:
    """Return the metadata of a setting with a variable, whose reader raises ValueError("must be …")."""
    return {"read": read}


@frozen
class Settings:
    """The settings of the service, the command line and the Python API.

    Attributes:
        data_dir: the folder for model versions, predictions and sales; with PostgreSQL, for copies of the versions in
            use and for pending predictions.
        database_url: where predictions are stored: a PostgreSQL URL, the URL of a plug-in, `memory:` for memory only,
            or None for SQLite in `data_dir`.
        database_direct_url: a URL of the same PostgreSQL server without a pool such as PgBouncer, if `database_url` is
            the pool's.
        database_schema: the PostgreSQL schema of the tables; None for the first schema of the search path that has
            them.
        models: where model versions are stored: in the `database`, if it is PostgreSQL, or in the `folder` `data_dir`.
        predictor: the plug-in that loads model versions; None for the built-in loader.
        demo: whether the demonstration model serves while no model is promoted.
        host: the address to listen on.
        port: the port to listen on, 0 for any free one.
        token: the bearer token for write routes. Without one, only loopback clients may write.
        signing_key: the keys for model versions. The first one signs, and a version that none of them signed is
            rejected. Without keys, nothing is signed and signatures are ignored.
        spool_rows: the maximum number of pending predictions in `data_dir` while PostgreSQL is unavailable.
        max_batch: the maximum number of houses or sales per request.
        max_body: the maximum size of a request body, in bytes.
        max_upload: the maximum size of a request body with training sales, in bytes.
        max_waiting: the maximum number of houses that wait to be estimated. Further requests are answered with 503.
        workers: the number of serving processes. The limits on requests and connections apply to each of them.
        max_connections: the maximum number of open connections.
        client_timeout: how long a client may take to send headers, to send a body, and to read a response, in seconds
            each.
        idle_timeout: how long a connection may stay open without a request, in seconds.
        cors_origins: the origins whose web pages may read responses; `*` for all.
        drain: how long a stopping service still serves while it reports that it is not ready, in seconds.
        log_level: the lowest level that is logged: `debug`, `info`, `warning` or `error`.
        keep: after how many days predictions are pruned; None for never.
        log_format: `json`, `text`, or `auto` for text in a terminal and JSON elsewhere.
        access_log: which requests are logged: `all`, `errors`, `none`, or `sampled` for errors, slow requests and one
            request per second.
        tracing: whether to send traces to the collector that OpenTelemetry's variables name.
    """

    data_dir: Path = field(metadata=_read_by(Path))
    database_url: str | None = field(default=None, repr=False, metadata=_read_by(_database_url))
    database_direct_url: str | None = field(default=None, repr=False, metadata=_read_by(_server_url))
    database_schema: str | None = field(default=None, metadata=_read_by(_schema))
    models: str = field(default="database", metadata=_read_by(_one_of("database", "folder")))
    predictor: str | None = field(default=None, metadata=_read_by(_predictor))
    demo: bool = field(default=False, metadata=_read_by(_boolean))
    host: str = field(default="127.0.0.1", metadata=_read_by(str))
    port: int = field(default=5000, metadata=_read_by(_whole_number(0, 65535)))
    token: str | None = field(default=None, repr=False, metadata=_read_by(_token))
    signing_key: tuple[bytes, ...] = field(default=(), repr=False, metadata=_read_by(_signing_key))
    spool_rows: int = field(default=1_000_000, metadata=_read_by(_whole_number(1, 10**9)))
    max_batch: int = field(default=1000, metadata=_read_by(_whole_number(1, 100_000)))
    max_body: int = field(default=2 * 1024**2, metadata=_read_by(_whole_number(1024, 1024**3)))
    max_upload: int = field(default=256 * 1024**2, metadata=_read_by(_whole_number(1024, 1024**4)))
    max_waiting: int = field(default=10_000, metadata=_read_by(_whole_number(1, 10_000_000)))
    workers: int = field(default=1, metadata=_read_by(_whole_number(1, 64)))
    max_connections: int = field(default=1000, metadata=_read_by(_whole_number(1, 1_000_000)))
    client_timeout: float = field(default=15.0, metadata=_read_by(_seconds(0.1, 3600)))
    idle_timeout: float = field(default=65.0, metadata=_read_by(_seconds(0.1, 3600)))
    cors_origins: tuple[str, ...] = field(default=(), metadata=_read_by(_cors_origins))
    drain: float = field(default=0.0, metadata=_read_by(_seconds(0, 3600)))
    log_level: str = field(default="info", metadata=_read_by(_one_of("debug", "info", "warning", "error")))
    keep: int | None = field(default=None, metadata=_read_by(_days))
    log_format: str = field(default="auto", metadata=_read_by(_one_of("auto", "json", "text")))
    access_log: str = field(default="sampled", metadata=_read_by(_one_of("all", "sampled", "errors", "none")))
    tracing: bool = False

    @property
    def postgres_url(self) -> str | None:
        """The `database_url` if it is a PostgreSQL URL, else None."""
        url = self.database_url
        return url if url is not None and scheme_of(url) in POSTGRES else None


SECRETS = tuple(setting.name for setting in fields(Settings) if not setting.repr)
"""Settings that are never shown. Each may be stored in a file instead."""

_READERS: Mapping[str, Callable[[str], Any]] = {
    setting.name: setting.metadata["read"] for setting in fields(Settings) if setting.metadata
}
_FILE_READERS = {f"{secret}_file": _file_of(_READERS[secret]) for secret in SECRETS}


def variables() -> list[str]:
    """Return the names of all variables that are read."""
    return [PREFIX + name.upper() for name in (*_READERS, *_FILE_READERS)] + [*LAB, *OTEL]


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from environment variables and arguments.

    Empty variables are ignored. Removed settings are ignored, and reported as warnings in the log.

    Args:
        environment: the variables; by default those of this process.
        **overrides: settings by name. They override the variables, unless they are None.

    Raises:
        InvalidSettings: with every problem, if any setting is invalid.
    """
    environment = os.environ if environment is None else environment
    for name, instead in REMOVED.items():
        if environment.get(PREFIX + name.upper()) or overrides.get(name) is not None:
            _log.warning("%s was removed and has no effect: %s", PREFIX + name.upper(), instead)
    return settings_and_origins(environment, **overrides)[0]


def settings_and_origins(
    environment: Mapping[str, str] | None = None, **overrides: Any
) -> tuple[Settings, Mapping[str, Sequence[str]]]:
    """Read the settings like `read_settings`, without warnings.

    Returns:
        The settings, and the origin of each setting that isn't a default: the names of variables, or `given`.
    """
    environment = os.environ if environment is None else environment
    present = {name: text for name, text in environment.items() if text and not _is_from_kubernetes(name, text)}
    overrides = {name: value for name, value in overrides.items() if value is not None and name not in REMOVED}
    problems: list[str] = []
    values, origins = _read_variables(present, overrides, problems)
    if any(name in present for name in LAB):
        lab = _read_lab_database(present, problems)
        if "database_url" not in values:
            values["database_url"], origins["database_url"] = lab, [name for name in LAB if name in present]
    if any(name in present for name in OTEL):
        values["tracing"], origins["tracing"] = _wants_traces(present), [name for name in OTEL if name in present]
    for name, value in overrides.items():
        try:
            values[name], origins[name] = _READERS[name](str(value)), ["given"]
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += _find_contradictions(values)
    if problems:
        raise InvalidSettings(problems)
    values["data_dir"] = _find_data_folder(values.get("data_dir"))
    names = [setting.name for setting in fields(Settings) if setting.name in origins]
    return Settings(**values), {name: origins[name] for name in names}


def _read_variables(
    present: Mapping[str, str], overrides: Mapping[str, Any], problems: list[str]
) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """Return the values and origins of the settings that variables set, and append to `problems`."""
    values: dict[str, Any] = {}
    origins: dict[str, Sequence[str]] = {}
    for variable, text in sorted(present.items()):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name in REMOVED:
            continue
        if (read := _READERS.get(name, _FILE_READERS.get(name))) is None:
            # compared without the prefix, which would make all names similar
            hint = did_you_mean(name, [*_READERS, *_FILE_READERS], lambda close: PREFIX + close.upper())
            problems.append(f"{variable} is not a setting{hint}")
            continue
        name = name.removesuffix("_file")
        if name in origins and name not in overrides:
            problems.append(f"{variable} must not be set together with {origins[name][0]}")
        try:
            values[name], origins[name] = read(text), [variable]
        except ValueError as error:
            # never show the value, which may be a secret
            problems.append(f"{variable} {error}")
    return values, origins


def _is_from_kubernetes(name: str, value: str) -> bool:
    """Return whether Kubernetes set a variable to describe a Service."""
    return bool(_KUBERNETES.search(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value)))


def _wants_traces(present: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables request traces over OTLP, the only supported protocol."""
    if present.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = present.get("OTEL_TRACES_EXPORTER")
    if exporters is None:
        return "OTEL_EXPORTER_OTLP_ENDPOINT" in present or "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in present
    return "otlp" in [exporter.strip() for exporter in exporters.split(",")]


def _is_ipv6(address: str) -> bool:
    with suppress(ValueError):
        return bool(IPv6Address(address))
    return False


def _read_lab_database(present: Mapping[str, str], problems: list[str]) -> str:
    """Return the URL of the database in the tutorial's variables, and append to `problems`."""
    lab = {name: present.get(name, "").strip() or default for name, default in LAB.items()}
    try:
        _whole_number(1, 65535)(lab["DB_PORT"])
    except ValueError as error:
        problems.append(f"DB_PORT {error}")
    if lab["DB_PASSWORD_FILE"]:
        if lab["DB_PASSWORD"]:
            problems.append("DB_PASSWORD_FILE must not be set together with DB_PASSWORD")
        try:
            lab["DB_PASSWORD"] = _file_of(str)(lab["DB_PASSWORD_FILE"])
        except ValueError as error:
            problems.append(f"DB_PASSWORD_FILE {error}")
    host = quote(lab["DB_HOST"], safe="")
    if {":", "[", "]"} & set(lab["DB_HOST"]):
        address = lab["DB_HOST"].removeprefix("[").removesuffix("]")
        host = f"[{quote(address, safe=':')}]"
        if not _is_ipv6(address):
            problems.append("DB_HOST must be a host name or an IP address; set the port with DB_PORT")
    password = f":{quote(lab['DB_PASSWORD'], safe='')}" if lab["DB_PASSWORD"] else ""
    user, name = quote(lab["DB_USER"], safe=""), quote(lab["DB_NAME"], safe="")
    return f"postgresql://{user}{password}@{host}:{lab['DB_PORT']}/{name}"


def _find_data_folder(folder: Path | None) -> Path:
    """Return the data folder. Raises InvalidSettings if it depends on a home or working folder that doesn't exist."""
    try:
        if folder is None:
            folder = PROJECT_FOLDER if PROJECT_FOLDER.is_dir() else user_data_path("housepredict")
        return folder.expanduser().absolute()
    except (RuntimeError, OSError) as error:
        is_home = isinstance(error, RuntimeError)
        reason = "this user has no home folder" if is_home else "the working folder no longer exists"
        raise InvalidSettings([f"{PREFIX}DATA_DIR must be set to an absolute path: {reason}"]) from error


def _find_contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("workers", 1) > 1 and values.get("database_url") == IN_MEMORY:
        yield f"{PREFIX}WORKERS must be 1 with {IN_MEMORY}: workers do not share memory"
    if "database_direct_url" in values and values.get("database_url") in (None, IN_MEMORY):
        yield f"{PREFIX}DATABASE_DIRECT_URL requires {PREFIX}DATABASE_URL: set it to the URL of the pool"
