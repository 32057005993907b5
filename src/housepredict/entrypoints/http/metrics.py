"""`GET /metrics`. What it takes is loaded with the first request: most of the time that would add to a start."""

from __future__ import annotations

from threading import Lock

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.entrypoints.http.answers import HEADERS
from housepredict.entrypoints.http.requests import application_of

_registering = Lock()


def metrics(request: Request) -> Response:
    """The metrics, in Prometheus's text format or that of OpenMetrics."""
    from prometheus_client.exposition import choose_encoder

    from housepredict.entrypoints.http.collector import registry_of

    application, state = application_of(request), request.app.state
    with _registering:
        if state.registry is None:
            state.registry = registry_of(application, state.observer.meter)
    write, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(write(state.registry), headers=HEADERS, media_type=media_type)


METRICS_ROUTES = (Route("/metrics", metrics),)
