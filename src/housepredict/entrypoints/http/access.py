"""Access control for write routes.

Clients must send the token. If no token is set, only programs on the same machine may use these routes. An app that is
mounted in another app always requires a token.
"""

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
    """Raise a Problem if a request is not allowed to use a write route."""
    token, embedded = application_of(request).settings.token, state_of(request.app).embedded
    if token is not None:
        _require_token(request, token)
    elif embedded or not (_is_local(request) and _is_same_origin(request)):
        raise Problem(
            "forbidden",
            "The service has no token, so only programs on its own machine may use this route (or none, if the service "
            "is mounted in another app). Set HOUSEPREDICT_TOKEN to at least 16 characters, and send it as "
            "`Authorization: Bearer TOKEN`.",
        )


def _require_token(request: Request, token: str) -> None:
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    # compare_digest takes constant time, so that response times reveal nothing about the token.
    if scheme.lower() != "bearer" or not hmac.compare_digest(credentials.strip().encode(), token.encode()):
        raise Problem(
            "unauthorized",
            "Missing or wrong token. Send the service's HOUSEPREDICT_TOKEN as `Authorization: Bearer TOKEN`.",
            headers={"WWW-Authenticate": 'Bearer realm="housepredict"'},
        )


def _is_local(request: Request) -> bool:
    """Return whether the request comes from this machine and was not forwarded by a proxy."""
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


def _is_same_origin(request: Request) -> bool:
    """Return whether the request certainly doesn't come from a web page of another site.

    The check of `Host` also detects pages that use DNS rebinding.
    """
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not _LOOPBACK_HOST.fullmatch(hosts[0]):
        return False
    same_origin = f"{request.scope['scheme']}://{hosts[0]}".lower()
    return all(origin.lower() == same_origin for origin in request.headers.getlist("origin")) and all(
        site in ("same-origin", "none") for site in request.headers.getlist("sec-fetch-site")
    )
