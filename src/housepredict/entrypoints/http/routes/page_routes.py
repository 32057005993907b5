"""Pages for people, and what they load. Programs get JSON at the same addresses.

What writes a page is loaded with the first request for one: most services have none, and start sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response

from housepredict.domain.errors import HousepredictError
from housepredict.domain.evaluation.drift import read_snapshot, typical_values
from housepredict.domain.evaluation.held_out import read_held_out
from housepredict.domain.features import Value
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http import openapi
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import VARY
from housepredict.entrypoints.http.responses import HEADERS, example
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.pages.assets import NAMES, assets

ASSETS = openapi.Resource("Service")
_FOR_GOOD = "public, max-age=31536000, immutable"


def home(request: Request, application: Application, version: ModelVersion | None) -> Response:
    """The page of the service, made once for each version that serves."""
    from housepredict.entrypoints.pages.home import HOME_POLICY, home_page

    service = running_service(request.app)
    if service.home_page is None or service.home_page[0] is not version:
        house = _house(application, version) if version else {}
        service.home_page = version, home_page(version, house)
    return _page(service.home_page[1], HOME_POLICY)


def of_version(application: Application, version: ModelVersion, promoted: str | None) -> Response:
    """The page of a version, without where its sales are."""
    from housepredict.entrypoints.pages.version_page import POLICY, version_page

    held_out = None
    with suppress(HousepredictError):  # the demonstration is in no store
        held_out = read_held_out(application.models.get(version.name)[1])
    if version.source.location is not None:
        version = evolve(version, source=evolve(version.source, location="a file"))
    return _page(version_page(version, promoted, held_out), f"{POLICY}; base-uri 'none'; frame-ancestors 'none'")


@ASSETS.route(
    "GET /assets/{digest}/{name}",
    "getAsset",
    openapi.Answer(
        "The file. It may be kept for good if the digest is that of this release.",
        openapi.TEXT,
        "text/javascript",
        also={"text/css": openapi.TEXT, "image/svg+xml": openapi.TEXT},
        headers={"Cache-Control": openapi.TEXT},
        always=["Cache-Control"],
    ),
    problems=["not-found"],
    faults=["internal-error"],
    parameters=[
        openapi.in_path("digest", openapi.TEXT, "What the page has there: it changes with what is loaded."),
        openapi.in_path("name", {"type": "string", "enum": list(NAMES)}, "The file."),
    ],
)
def asset(request: Request) -> Response:
    """What the page loads."""
    content, media_type = assets().files.get(request.path_params["name"], (None, None))
    if content is None:
        raise Problem("not-found", 404, "Not found", "There is nothing here; `GET /` lists what there is.")
    # while services of two releases stand behind one address, the page of one may ask the other
    caching = _FOR_GOOD if request.path_params["digest"] == assets().digest else "no-store"
    return Response(content, headers={**HEADERS, "Cache-Control": caching}, media_type=media_type)


def _page(page: str, policy: str) -> Response:
    headers = {**HEADERS, **VARY, "Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return Response(page.encode("utf-8", "replace"), headers=headers, media_type="text/html")


def _house(application: Application, version: ModelVersion) -> Mapping[str, Value]:
    """A typical house of those that a version was trained on, or an example where it does not tell."""
    with suppress(HousepredictError):
        if snapshot := read_snapshot(application.models.get(version.name)[1]):
            needed = {each.name for each in version.schema.features if each.required}
            made_up = {name: value for name, value in example(version.schema).items() if name in needed}
            house = {**made_up, **typical_values(snapshot)}
            if not version.schema.violations(house):
                return house
    return example(version.schema)
