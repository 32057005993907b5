"""Variables that others gave their names: the tutorial, OpenTelemetry, and Kubernetes, whose are left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv6Address
from urllib.parse import quote

from housepredict.entrypoints.setting_values import file_of, whole

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
