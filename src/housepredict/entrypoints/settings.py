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
from housepredict.domain.training_options import did_you_mean
from housepredict.entrypoints.plugins import PREDICTORS, REPOSITORIES, installed

T = TypeVar("T")

MIN_TOKEN = 16
IN_MEMORY = "memory:"
POSTGRES = ("postgresql", "postgres")
_LONGEST_IDENTIFIER = 63
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_MOST_DAYS = 20_000  # no prediction can be older


def flag(text: str) -> bool:
    """Yes or no."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("must be 1 or 0")
    return known[text.lower()]


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Seconds in a range, both ends included."""

    def read(text: str) -> float:
        if not (re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) and low <= float(text) <= high):
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(text)

    return read


def days(text: str) -> int:
    """Days, as `400d`."""
    found = re.fullmatch(r"([1-9]\d{0,4})d", text, re.ASCII)
    if not found or int(found[1]) > _MOST_DAYS:
        raise ValueError(f"must be a number of days from 1d to {_MOST_DAYS}d, such as 400d")
    return int(found[1])


def database_url(text: str) -> str:
    """Where predictions are kept."""
    text = text.strip()
    scheme = scheme_of(text)
    if text != IN_MEMORY and scheme not in POSTGRES and scheme not in (others := installed(REPOSITORIES)):
        plugins = f"of a plug-in that is installed ({', '.join(f'{each}://' for each in others) or 'there is none'})"
        raise ValueError(f"must be a postgresql:// URL, {IN_MEMORY}, or a URL {plugins}")
    return text


def scheme_of(url: str) -> str:
    """The scheme of a URL, empty if it has none. The standard library's errors about other parts quote passwords."""
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_database(url: str) -> str:
    """Where the URL of a database leads, `host:port/name`; nothing where that cannot be told from a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    credentials, _, host = parts.netloc.rpartition("@")
    # a password with a bare @ or / in it would put a part of itself where the host or the database is looked for
    return f"{host}{parts.path}" if url.count("@") == bool(credentials) else ""


def predictor(text: str) -> str:
    """The name of a plug-in that loads model versions."""
    if text not in (known := installed(PREDICTORS)):
        raise ValueError(f"must be a plug-in of {PREDICTORS} that is installed ({', '.join(known) or 'there is none'})")
    return text


def server_url(text: str) -> str:
    """A PostgreSQL server."""
    if scheme_of(text.strip()) not in POSTGRES:
        raise ValueError("must be a postgresql:// URL")
    return text.strip()


def schema(text: str) -> str:
    """The name of a schema of PostgreSQL."""
    text = text.strip()
    if len(text.encode()) > _LONGEST_IDENTIFIER or "\0" in text or text.startswith("pg_") or not text:
        raise ValueError(f"must be the name of a schema: at most {_LONGEST_IDENTIFIER} bytes, and no pg_ in front")
    return text


def token(text: str) -> str:
    """A secret that clients send."""
    text = text.strip()
    if len(text) < MIN_TOKEN or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"must have at least {MIN_TOKEN} ASCII characters and no spaces")
    return text


def signing_key(text: str) -> tuple[bytes, ...]:
    """Keys for model versions, the one that signs first."""
    keys = text.replace(",", " ").split()
    if not keys or not all(re.fullmatch("([0-9A-Fa-f]{2}){32,}", key) for key in keys):
        raise ValueError("must hold 64 hexadecimal digits or more: a key of 32 bytes, or several with spaces between")
    return tuple(map(bytes.fromhex, keys))


def cors_origins(text: str) -> tuple[str, ...]:
    """Origins, with spaces or commas between them, or `*`."""
    origins = tuple(text.lower().replace(",", " ").split())
    if not origins or not all(each == "*" or _ORIGIN.fullmatch(each) for each in origins):
        raise ValueError("must be * or origins such as https://prices.example, without a path, commas between them")
    return origins


def file_of(read: Callable[[str], T]) -> Callable[[str], T]:
    """Read a secret from a file."""

    def read_file(path: str) -> T:
        try:
            # the error of a decoder would show the secret; what is not UTF-8 is none of ours
            return read(Path(path.strip()).read_text(encoding="utf-8-sig", errors="replace").strip())
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    return read_file


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """One of a few words, in small letters."""

    def read(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return text.lower()

    return read


# The tutorial's variables and what they default to; a password has no default. The last one is ours.
LAB = {
    "DB_HOST": "localhost",
    "DB_PORT": "5432",
    "DB_NAME": "mldata",
    "DB_USER": "postgres",
    "DB_PASSWORD": "",
    "DB_PASSWORD_FILE": "",
}
# Kubernetes describes each Service to every pod; a Service named housepredict or db must not configure us.
_KUBERNETES = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://")
# OpenTelemetry's own variables: these say whether traces are wanted, all others of them are its SDK's business
OTEL = (
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


def is_from_kubernetes(name: str, value: str) -> bool:
    """Whether a variable describes a Service."""
    return bool(_KUBERNETES.search(name) or (name.endswith("_PORT") and _KUBERNETES_PORT.match(value)))


def traces_are_wanted(present: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's variables ask for traces over OTLP, the one way in which they are sent."""
    if present.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporters = present.get("OTEL_TRACES_EXPORTER")
    if exporters is None:
        return "OTEL_EXPORTER_OTLP_ENDPOINT" in present or "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in present
    return "otlp" in [each.strip() for each in exporters.split(",")]


def _is_ipv6(address: str) -> bool:
    with suppress(ValueError):
        return bool(IPv6Address(address))
    return False


def lab_database(present: Mapping[str, str], problems: list[str]) -> str:
    """The URL of the database that the tutorial's variables name; what is wrong with them is added to the problems."""
    lab = {name: present.get(name, "").strip() or default for name, default in LAB.items()}
    try:
        whole(1, 65535)(lab["DB_PORT"])
    except ValueError as error:
        problems.append(f"DB_PORT {error}")
    if lab["DB_PASSWORD_FILE"]:
        if lab["DB_PASSWORD"]:
            problems.append("DB_PASSWORD_FILE must not be set beside DB_PASSWORD")
        try:
            lab["DB_PASSWORD"] = file_of(str)(lab["DB_PASSWORD_FILE"])
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
