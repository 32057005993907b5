"""The settings, which are read once from environment variables and the caller's arguments, and never change."""

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
"""Settings removed in this release, with advice on what to do instead. The next release reports them as unknown."""

# The tutorial's variables and their defaults. The last one is an addition by housepredict.
LAB = {
    "DB_HOST": "localhost",
    "DB_PORT": "5432",
    "DB_NAME": "mldata",
    "DB_USER": "postgres",
    "DB_PASSWORD": "",
    "DB_PASSWORD_FILE": "",
}
# The OpenTelemetry variables that turn traces on or off. OpenTelemetry's SDK reads all others.
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
    """Return a parser for whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _seconds(low: float, high: float) -> Callable[[str], float]:
    """Return a parser for numbers of seconds from `low` to `high`."""

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
    """Return a case-insensitive parser that accepts only `words`."""

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
    """Return a parser that accepts the path of a secret file, and parses the file's content with `read`."""

    def read_file(path: str) -> T:
        try:
            # A decoding error would show the secret. With "replace", `read` rejects a file that is not UTF-8.
            return read(Path(path.strip()).read_text(encoding="utf-8-sig", errors="replace").strip())
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    return read_file


def scheme_of(url: str) -> str:
    """Return the scheme of a URL, or "" if the URL has no scheme."""
    # urlsplit is not used, because its errors about other parts of the URL show the password
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_database(url: str) -> str:
    """Return the `host:port/name` part of a database URL, or "" if it can't be separated safely from the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    credentials, _, host = parts.netloc.rpartition("@")
    # An unescaped @ or / in the password would make part of the password look like the host or the name.
    return f"{host}{parts.path}" if url.count("@") == bool(credentials) else ""


def _read_by(read: Callable[[str], Any]) -> Mapping[str, Callable[[str], Any]]:
    """Return the field metadata for a setting whose text `read` converts to a value.

    If the text is invalid, `read` must raise ValueError with a message that starts with "must be".
    """
    return {"read": read}


@frozen
class Settings:
    """The settings of the service, the command line and the Python API.

    Attributes:
        data_dir: the directory for model versions, predictions and sales. If PostgreSQL stores them, this
            directory contains pending predictions, uploaded sales files, and copies of the model versions in use.
        database_url: where predictions are stored: a PostgreSQL URL, a plug-in's URL, `memory:` (in memory only), or
            None (SQLite in `data_dir`).
        database_direct_url: if `database_url` points to a connection pooler such as PgBouncer, a URL that connects
            directly to the same PostgreSQL server.
        database_schema: the PostgreSQL schema that contains the tables, or None to use the first schema on the search
            path that contains them.
        models: where model versions are stored: `folder` (in `data_dir`) or `database` (in PostgreSQL if it is used,
            otherwise in `data_dir`).
        predictor: the plug-in that loads model versions, or None for the built-in loader.
        demo: whether to serve the demonstration model while no model is promoted.
        host: the address to listen on.
        port: the port to listen on (0: any free port).
        token: the bearer token for write routes. Without one, only loopback clients may write.
        signing_key: the keys for signing model versions. The first key signs new versions. A version is rejected unless
            it was signed with one of the keys. Without keys, nothing is signed and signatures are ignored.
        spool_rows: the maximum number of predictions stored in `data_dir` while PostgreSQL is unavailable.
        max_batch: the maximum number of houses or sales per request.
        max_body: the maximum size of a request body, in bytes.
        max_upload: the maximum size of a request body with training sales, in bytes.
        max_waiting: the maximum number of houses waiting to be estimated. Further requests get a 503 response.
        workers: the number of serving processes. Limits on requests and connections apply to each process.
        max_connections: the maximum number of open connections.
        client_timeout: how many seconds a client may take for each of these steps: sending the headers, sending the
            body, and reading the response.
        idle_timeout: how many seconds a connection may stay open between requests.
        cors_origins: the origins whose web pages may read responses (`*`: all origins).
        drain: how many seconds the service keeps serving, while reporting that it is not ready, before it stops.
        log_level: the minimum level to log: `debug`, `info`, `warning` or `error`.
        keep: the number of days after which predictions are pruned, or None to never prune them.
        log_format: `json`, `text`, or `auto` (text in a terminal, JSON otherwise).
        access_log: which requests to log: `all`, `errors`, `none`, or `sampled` (errors, slow requests and one request
            per second).
        tracing: whether to send traces to the collector that OpenTelemetry's environment variables specify.
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
        """The `database_url` if it is a PostgreSQL URL, otherwise None."""
        url = self.database_url
        return url if url is not None and scheme_of(url) in POSTGRES else None


SECRETS = tuple(setting.name for setting in fields(Settings) if not setting.repr)
"""The names of settings whose values are never displayed. Each value can be read from a file instead of a variable."""

_READERS: Mapping[str, Callable[[str], Any]] = {
    setting.name: setting.metadata["read"] for setting in fields(Settings) if setting.metadata
}
_FILE_READERS = {f"{secret}_file": _file_of(_READERS[secret]) for secret in SECRETS}


def variables() -> list[str]:
    """Return the names of all environment variables that housepredict reads."""
    return [PREFIX + name.upper() for name in (*_READERS, *_FILE_READERS)] + [*LAB, *OTEL]


def read_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from environment variables and arguments.

    Empty variables are ignored. Removed settings are ignored, too, and a warning is logged for each.

    Args:
        environment: the environment variables. By default, these are the variables of the process.
        **overrides: values of settings, by name. A value that isn't None overrides the variable.

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
    """Read the settings as `read_settings` does, but without logging warnings.

    Returns:
        The settings, and the origin of each setting that isn't a default. An origin is a list of environment variables,
        or `["given"]` if the setting was passed as an argument.
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
    """Read settings from environment variables.

    Args:
        present: the environment variables.
        overrides: settings that are passed as arguments, by name.
        problems: a list to which problems are appended.

    Returns:
        The values of the settings and their origins (the variables), by setting name.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Sequence[str]] = {}
    for variable, text in sorted(present.items()):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name in REMOVED:
            continue
        if (read := _READERS.get(name, _FILE_READERS.get(name))) is None:
            # compare names without the prefix, because it would make all of them similar
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
    """Return whether this is a variable that Kubernetes sets to describe a Service."""
    return bool(_KUBERNETES.search(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value)))


def _wants_traces(present: Mapping[str, str]) -> bool:
    """Return whether OpenTelemetry's variables request traces over OTLP, which is the only supported protocol."""
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
    """Return the database URL that the tutorial's variables define. Problems are appended to `problems`."""
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
    """Return the absolute path of the data directory. `folder` is the configured path, or None for the default.

    Raises:
        InvalidSettings: if the path depends on a home directory or working directory that doesn't exist.
    """
    try:
        if folder is None:
            folder = PROJECT_FOLDER if PROJECT_FOLDER.is_dir() else user_data_path("housepredict")
        return folder.expanduser().absolute()
    except (RuntimeError, OSError) as error:
        is_home = isinstance(error, RuntimeError)
        reason = "this user has no home directory" if is_home else "the working directory no longer exists"
        raise InvalidSettings([f"{PREFIX}DATA_DIR must be set to an absolute path: {reason}"]) from error


def _find_contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("workers", 1) > 1 and values.get("database_url") == IN_MEMORY:
        yield f"{PREFIX}WORKERS must be 1 with {IN_MEMORY}: workers do not share memory"
    if "database_direct_url" in values and values.get("database_url") in (None, IN_MEMORY):
        yield f"{PREFIX}DATABASE_DIRECT_URL requires {PREFIX}DATABASE_URL to be set to the URL of the connection pooler"
