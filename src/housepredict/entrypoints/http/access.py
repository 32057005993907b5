"""Who may write over HTTP, estimates apart: whoever has the token, or without one whoever is at this very machine."""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address

from starlette.requests import Request

from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import application_of
from housepredict.entrypoints.http.service_state import state_of

_LOOPBACK_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def require_access(request: Request) -> None:
    """Raise a Problem unless the request may change something."""
    token, embedded = application_of(request).settings.token, state_of(request.app).embedded
    if token is not None:
        _require_token(request, token)
    elif embedded or not (_is_from_here(request) and _is_no_web_page(request)):
        raise Problem(
            "forbidden",
            403,
            "Not from here",
            "Without a token this is open to programs on the service's own machine alone, and closed where the service "
            "is part of another. Set HOUSEPREDICT_TOKEN (16 characters or more) and send it as "
            "`Authorization: Bearer TOKEN`.",
        )


def _require_token(request: Request, token: str) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # compare_digest takes the same time however much of it is right
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise Problem(
            "unauthorized",
            401,
            "A token is needed",
            "Send the token of the service's settings as `Authorization: Bearer TOKEN`.",
            headers={"WWW-Authenticate": 'Bearer realm="housepredict"'},
        )


def _is_from_here(request: Request) -> bool:
    """Whether the peer is on this machine, and no proxy that speaks for somebody else."""
    return (
        request.client is not None
        and _is_loopback(request.client.host)
        and not any(name in request.headers for name in _PROXY_HEADERS)
    )


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_no_web_page(request: Request) -> bool:
    """Whether no page of another site is behind this, under its own name or one that it made point here."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _LOOPBACK_HOST.fullmatch(hosts[0]):
        return False
    own = f"{request.scope['scheme']}://{hosts[0]}".lower()
    return all(origin.lower() == own for origin in request.headers.getlist("origin")) and all(
        site in ("same-origin", "none") for site in request.headers.getlist("sec-fetch-site")
    )
