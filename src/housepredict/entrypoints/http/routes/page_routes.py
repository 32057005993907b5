"""HTML pages and their assets. Some URLs return a page to browsers, and JSON to other clients.

The modules that render pages are imported by the first request for a page, so that the service starts faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import evolve
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import HousepredictError
from housepredict.domain.evaluation.drift import read_snapshot, typical_values
from housepredict.domain.evaluation.held_out import read_held_out
from housepredict.domain.features import Value
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.requests import VARY
from housepredict.entrypoints.http.responses import HEADERS, example
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.pages.assets import NAMES, assets

ASSETS = openapi.Resource("Service")
_IMMUTABLE = "public, max-age=31536000, immutable"


def home(request: Request, application: Application, version: ModelVersion | None) -> Response:
    """Return the home page, which is cached until the version in service changes."""
    from housepredict.entrypoints.pages.home import HOME_POLICY, home_page

    service = running_service(request.app)
    if service.home_page is None or service.home_page[0] is not version:
        house = _house(application, version) if version else {}
        service.home_page = version, home_page(version, house)
    return _page(service.home_page[1], HOME_POLICY)


def version_response(application: Application, version: ModelVersion, promoted: str | None) -> Response:
    """Return the page for a model version. It doesn't show the path of the sales file.

    `promoted` is the name of the promoted version.
    """
    from housepredict.entrypoints.pages.version_page import POLICY, version_page

    held_out = None
    with suppress(HousepredictError):  # the demo model is not in the store
        held_out = read_held_out(application.models.get(version.name)[1])
    if version.source.location is not None:
        version = evolve(version, source=evolve(version.source, location="a file"))
    return _page(version_page(version, promoted, held_out), f"{POLICY}; base-uri 'none'; frame-ancestors 'none'")


@ASSETS.route(
    "GET /assets/{digest}/{name}",
    "getAsset",
    openapi.Answer(
        "The file. It may be cached forever if the digest is that of the running release.",
        openapi.TEXT,
        "text/javascript",
        also={"text/css": openapi.TEXT, "image/svg+xml": openapi.TEXT},
        headers={"Cache-Control": openapi.TEXT},
        always=["Cache-Control"],
    ),
    problems=["not-found"],
    faults=["internal-error"],
    parameters=[
        openapi.in_path(
            "digest", openapi.TEXT, "A digest of the page's scripts and styles, as in the links of the page."
        ),
        openapi.in_path("name", {"type": "string", "enum": list(NAMES)}, "The name of the file."),
    ],
)
def asset(request: Request) -> Response:
    """Get a file that a page loads."""
    content, media_type = assets().files.get(request.path_params["name"], (None, None))
    if content is None:
        raise HTTPException(404)
    # During a rolling upgrade, the page of one release may load the files of another.
    caching = _IMMUTABLE if request.path_params["digest"] == assets().digest else "no-store"
    return Response(content, headers={**HEADERS, "Cache-Control": caching}, media_type=media_type)


def _page(page: str, policy: str) -> Response:
    headers = {**HEADERS, **VARY, "Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return Response(page.encode("utf-8", "replace"), headers=headers, media_type="text/html")


def _house(application: Application, version: ModelVersion) -> Mapping[str, Value]:
    """Return a typical house from the training sales, or an example house if the version has no training snapshot."""
    with suppress(HousepredictError):
        if snapshot := read_snapshot(application.models.get(version.name)[1]):
            required = {feature.name for feature in version.schema.features if feature.required}
            defaults = {name: value for name, value in example(version.schema).items() if name in required}
            house = {**defaults, **typical_values(snapshot)}
            if not version.schema.violations(house):
                return house
    return example(version.schema)
