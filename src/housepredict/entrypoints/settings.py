"""The settings: one frozen value, read once from the environment and what the caller says."""

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
"""The settings that this release removed, and what to do instead. The next release reports them as unknown."""

# The tutorial's variables and their defaults; the last one is housepredict's.
LAB = {
    "DB_HOST": "localhost",
    "DB_PORT": "5432",
    "DB_NAME": "mldata",
    "DB_USER": "postgres",
    "DB_PASSWORD": "",
    "DB_PASSWORD_FILE": "",
}
# OpenTelemetry's own variables that say whether traces are wanted; its SDK reads all others.
OTEL = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)
# Kubernetes describes each Service to every pod; a Service named housepredict or db must not configure us.
_KUBERNETES = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://")
_MAX_IDENTIFIER = 63  # bytes
_MAX_DAYS = 20_000  # no prediction can be older
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

_log = logging.getLogger(__name__)


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError("must be 1 or 0")
    return _FLAGS[text.lower()]


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def _seconds(low: float, high: float) -> Callable[[str], float]:
    """A reader of seconds in a range, both ends included."""

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
    """A reader of one of a few words, in any case."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return read


def _database_url(text: str) -> str:
    text = text.strip()
    scheme = scheme_of(text)
    if text != IN_MEMORY and scheme not in POSTGRES and scheme not in (others := installed(REPOSITORIES)):
        plugins = f"of a plug-in that is installed ({', '.join(f'{name}://' for name in others) or 'there is none'})"
        raise ValueError(f"must be a postgresql:// URL, {IN_MEMORY}, or a URL {plugins}")
    return text


def _server_url(text: str) -> str:
    if scheme_of(text.strip()) not in POSTGRES:
        raise ValueError("must be a postgresql:// URL")
    return text.strip()


def _schema(text: str) -> str:
    text = text.strip()
    if len(text.encode()) > _MAX_IDENTIFIER or "\0" in text or text.startswith("pg_") or not text:
        raise ValueError(f"must be the name of a schema: at most {_MAX_IDENTIFIER} bytes, and no pg_ in front")
    return text


def _predictor(text: str) -> str:
    if text not in (names := installed(PREDICTORS)):
        raise ValueError(f"must be a plug-in of {PREDICTORS} that is installed ({', '.join(names) or 'there is none'})")
    return text


def _token(text: str) -> str:
    text = text.strip()
    if len(text) < MIN_TOKEN or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"must have at least {MIN_TOKEN} ASCII characters and no spaces")
    return text


def _signing_key(text: str) -> tuple[bytes, ...]:
    keys = text.replace(",", " ").split()
    if not keys or not all(re.fullmatch("([0-9A-Fa-f]{2}){32,}", key) for key in keys):
        raise ValueError("must hold 64 hexadecimal digits or more: a key of 32 bytes, or several with spaces between")
    return tuple(map(bytes.fromhex, keys))


def _cors_origins(text: str) -> tuple[str, ...]:
    origins = tuple(text.lower().replace(",", " ").split())
    if not origins or not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be * or origins such as https://prices.example, without a path, commas between them")
    return origins


def _file_of(read: Callable[[str], T]) -> Callable[[str], T]:
    """A reader of a secret that is in a file."""

    def read_file(path: str) -> T:
        try:
            # A decoder's error would show the secret: a file that is not UTF-8 is left to the reader to refuse.
            return read(Path(path.strip()).read_text(encoding="utf-8-sig", errors="replace").strip())
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    return read_file


def scheme_of(url: str) -> str:
    """The scheme of a URL, empty if it has none. The standard library's errors about other parts quote passwords."""
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_database(url: str) -> str:
    """The `host:port/name` of a database URL; empty where that cannot be told from a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    credentials, _, host = parts.netloc.rpartition("@")
    # A password with a bare @ or / in it would put a part of itself where the host or the database is looked for.
    return f"{host}{parts.path}" if url.count("@") == bool(credentials) else ""


def _by(read: Callable[[str], Any]) -> Mapping[str, Callable[[str], Any]]:
    """The metadata of a setting that a variable sets: its reader, which raises ValueError with what it must be."""
    return {"read": read}


@frozen
class Settings:
    """How housepredict runs.

    data_dir: folder of the models, and of the predictions without a database.
    database_url: a PostgreSQL URL; one whose scheme is a plug-in's stores predictions there; `memory:` stores them in
        memory alone; None stores them in SQLite in data_dir.
    database_direct_url: the same server without a pool such as pgbouncer; database_url then leads to the pool.
    database_schema: the schema of the tables in PostgreSQL; None for the first of the search path that has them.
    models: where model versions are stored: in the `database`, if there is one, or in the `folder` data_dir.
    predictor: the plug-in that loads model versions; None for housepredict's own loader.
    demo: whether the demonstration model serves while no model is promoted.
    token: bearer token for write routes. Without one, only loopback clients may write.
    signing_key: keys for model versions. The first signs, and a version that none of them signed is refused; without
        keys, nothing is signed and signatures are ignored.
    spool_rows: maximum number of predictions that are pending in data_dir while PostgreSQL is unavailable.
    max_batch: maximum number of houses in one request. max_body: maximum bytes in a request's body.
    max_upload: maximum bytes of sales in a request's body.
    max_waiting: maximum number of houses that wait to be estimated; further requests are answered with 503.
    workers: number of processes that serve; the limits above and below apply to each.
    max_connections: maximum number of open connections.
    client_timeout: seconds for a client to send its headers, to send its body and to read its answer, each.
    idle_timeout: seconds for which a connection may stay open without a request.
    cors_origins: origins whose web pages may send requests; `*` for all.
    keep: days after which predictions are pruned; None for never.
    drain: seconds for which a service that is stopping reports that it is not ready, and still serves.
    log_format: `json`, `text`, or `auto`: text for a terminal, else JSON.
    access_log: which requests are logged: `all`, `errors`, `none`, or `sampled`: errors, slow ones, and one a second.
    tracing: whether a service sends traces to the collector that OpenTelemetry's variables name.
    """

    data_dir: Path = field(metadata=_by(Path))
    database_url: str | None = field(default=None, repr=False, metadata=_by(_database_url))
    database_direct_url: str | None = field(default=None, repr=False, metadata=_by(_server_url))
    database_schema: str | None = field(default=None, metadata=_by(_schema))
    models: str = field(default="database", metadata=_by(_one_of("database", "folder")))
    predictor: str | None = field(default=None, metadata=_by(_predictor))
    demo: bool = field(default=False, metadata=_by(_flag))
    host: str = field(default="127.0.0.1", metadata=_by(str))
    port: int = field(default=5000, metadata=_by(_whole(0, 65535)))
    token: str | None = field(default=None, repr=False, metadata=_by(_token))
    signing_key: tuple[bytes, ...] = field(default=(), repr=False, metadata=_by(_signing_key))
    spool_rows: int = field(default=1_000_000, metadata=_by(_whole(1, 10**9)))
    max_batch: int = field(default=1000, metadata=_by(_whole(1, 100_000)))
    max_body: int = field(default=2 * 1024**2, metadata=_by(_whole(1024, 1024**3)))
    max_upload: int = field(default=256 * 1024**2, metadata=_by(_whole(1024, 1024**4)))
    max_waiting: int = field(default=10_000, metadata=_by(_whole(1, 10_000_000)))
    workers: int = field(default=1, metadata=_by(_whole(1, 64)))
    max_connections: int = field(default=1000, metadata=_by(_whole(1, 1_000_000)))
    client_timeout: float = field(default=15.0, metadata=_by(_seconds(0.1, 3600)))
    idle_timeout: float = field(default=65.0, metadata=_by(_seconds(0.1, 3600)))
    cors_origins: tuple[str, ...] = field(default=(), metadata=_by(_cors_origins))
    drain: float = field(default=0.0, metadata=_by(_seconds(0, 3600)))
    log_level: str = field(default="info", metadata=_by(_one_of("debug", "info", "warning", "error")))
    keep: int | None = field(default=None, metadata=_by(_days))
    log_format: str = field(default="auto", metadata=_by(_one_of("auto", "json", "text")))
    access_log: str = field(default="sampled", metadata=_by(_one_of("all", "sampled", "errors", "none")))
    tracing: bool = False

    @property
    def postgres_url(self) -> str | None:
        """The URL of the PostgreSQL, None where predictions are elsewhere."""
        url = self.database_url
        return url if url is not None and scheme_of(url) in POSTGRES else None


SECRETS = tuple(setting.name for setting in fields(Settings) if not setting.repr)
"""Settings that are not to be shown as they are; each may be in a file instead."""

_READERS: Mapping[str, Callable[[str], Any]] = {
    setting.name: setting.metadata["read"] for setting in fields(Settings) if setting.metadata
}
_FILE_READERS = {f"{secret}_file": _file_of(_READERS[secret]) for secret in SECRETS}


def variables() -> list[str]:
    """Every variable that is read, for the documentation and its test."""
    return [PREFIX + name.upper() for name in (*_READERS, *_FILE_READERS)] + [*LAB, *OTEL]


def read_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Read the settings of an environment (the process's own by default); what is given and not None wins.

    An empty variable counts as not set. Settings in REMOVED are ignored, and a warning in the log names each of them.

    Raises:
        InvalidSettings: with every problem.
    """
    environment = os.environ if environment is None else environment
    for name, instead in REMOVED.items():
        if environment.get(PREFIX + name.upper()) or given.get(name) is not None:
            _log.warning("%s was removed and has no effect: %s", PREFIX + name.upper(), instead)
    return settings_and_origins(environment, **given)[0]


def settings_and_origins(
    environment: Mapping[str, str] | None = None, **given: Any
) -> tuple[Settings, Mapping[str, Sequence[str]]]:
    """As read_settings, and by setting where the value is from: variables, or `given`; defaults are left out."""
    environment = os.environ if environment is None else environment
    present = {name: text for name, text in environment.items() if text and not _is_from_kubernetes(name, text)}
    given = {name: value for name, value in given.items() if value is not None and name not in REMOVED}
    problems: list[str] = []
    values, origins = _read_variables(present, given, problems)
    if any(name in present for name in LAB):
        lab = _lab_database(present, problems)
        if "database_url" not in values:
            values["database_url"], origins["database_url"] = lab, [name for name in LAB if name in present]
    if any(name in present for name in OTEL):
        values["tracing"], origins["tracing"] = _wants_traces(present), [name for name in OTEL if name in present]
    for name, value in given.items():
        try:
            values[name], origins[name] = _READERS[name](str(value)), ["given"]
        except ValueError as error:
            problems.append(f"{name} {error}")
    problems += _contradictions(values)
    if problems:
        raise InvalidSettings(problems)
    values["data_dir"] = _data_folder(values.get("data_dir"))
    names = [setting.name for setting in fields(Settings) if setting.name in origins]
    return Settings(**values), {name: origins[name] for name in names}


def _read_variables(
    present: Mapping[str, str], given: Mapping[str, Any], problems: list[str]
) -> tuple[dict[str, Any], dict[str, Sequence[str]]]:
    """The values and origins of the settings that variables set; their problems are added to `problems`."""
    values: dict[str, Any] = {}
    origins: dict[str, Sequence[str]] = {}
    for variable, text in sorted(present.items()):
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or name in REMOVED:
            continue
        if (read := _READERS.get(name, _FILE_READERS.get(name))) is None:
            # without the prefix, which makes everything alike
            hint = did_you_mean(name, [*_READERS, *_FILE_READERS], lambda close: PREFIX + close.upper())
            problems.append(f"{variable} is no setting{hint}")
            continue
        name = name.removesuffix("_file")
        if name in origins and name not in given:
            problems.append(f"{variable} must not be set beside {origins[name][0]}")
        try:
            values[name], origins[name] = read(text), [variable]
        except ValueError as error:
            # the value itself may be a secret
            problems.append(f"{variable} {error}")
    return values, origins


def _is_from_kubernetes(name: str, value: str) -> bool:
    """Whether a variable describes a Service."""
    return bool(_KUBERNETES.search(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value)))


def _wants_traces(present: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables ask for traces over OTLP, the one way in which they are sent."""
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


def _lab_database(present: Mapping[str, str], problems: list[str]) -> str:
    """The URL of the database that the tutorial's variables name; what is wrong with them is added to the problems."""
    lab = {name: present.get(name, "").strip() or default for name, default in LAB.items()}
    try:
        _whole(1, 65535)(lab["DB_PORT"])
    except ValueError as error:
        problems.append(f"DB_PORT {error}")
    if lab["DB_PASSWORD_FILE"]:
        if lab["DB_PASSWORD"]:
            problems.append("DB_PASSWORD_FILE must not be set beside DB_PASSWORD")
        try:
            lab["DB_PASSWORD"] = _file_of(str)(lab["DB_PASSWORD_FILE"])
        except ValueError as error:
            problems.append(f"DB_PASSWORD_FILE {error}")
    host = quote(lab["DB_HOST"], safe="")
    if {":", "[", "]"} & set(lab["DB_HOST"]):
        address = lab["DB_HOST"].removeprefix("[").removesuffix("]")
        host = f"[{quote(address, safe=':')}]"
        if not _is_ipv6(address):
            problems.append("DB_HOST must be a host name or an IP address; the port is DB_PORT's")
    password = f":{quote(lab['DB_PASSWORD'], safe='')}" if lab["DB_PASSWORD"] else ""
    user, name = quote(lab["DB_USER"], safe=""), quote(lab["DB_NAME"], safe="")
    return f"postgresql://{user}{password}@{host}:{lab['DB_PORT']}/{name}"


def _data_folder(folder: Path | None) -> Path:
    """The data folder. Raises InvalidSettings where it depends on a home or a working folder that does not exist."""
    try:
        if folder is None:
            folder = PROJECT_FOLDER if PROJECT_FOLDER.is_dir() else user_data_path("housepredict")
        return folder.expanduser().absolute()
    except (RuntimeError, OSError) as error:
        lacking = "this user has no home folder" if isinstance(error, RuntimeError) else "there is no working folder"
        raise InvalidSettings([f"{PREFIX}DATA_DIR must be set to an absolute path: {lacking}"]) from error


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("workers", 1) > 1 and values.get("database_url") == IN_MEMORY:
        yield f"{PREFIX}WORKERS must be 1 with {IN_MEMORY}, of which each worker would have its own"
    if "database_direct_url" in values and values.get("database_url") in (None, IN_MEMORY):
        yield f"{PREFIX}DATABASE_DIRECT_URL is for a database with a pool in front of it: name the pool, too"
