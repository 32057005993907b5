"""Pages for people, and what they load. Programs get JSON at the same addresses.

What writes a page is loaded with the first request for one: most services have none, and start sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from attrs import evolve
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.domain.errors import HousepredictError
from housepredict.domain.evaluation.drift import of_artefact as snapshot_of
from housepredict.domain.evaluation.drift import typical_values
from housepredict.domain.evaluation.held_out import of_artefact as held_out_of
from housepredict.domain.features import Value
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.http.problems import Problem
from housepredict.entrypoints.http.requests import VARY
from housepredict.entrypoints.http.responses import HEADERS, example
from housepredict.entrypoints.http.service_state import running_service
from housepredict.entrypoints.pages.assets import assets

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
        held_out = held_out_of(application.models.get(version.name)[1])
    if version.source.location is not None:
        version = evolve(version, source=evolve(version.source, location="a file"))
    return _page(version_page(version, promoted, held_out), f"{POLICY}; base-uri 'none'; frame-ancestors 'none'")


def asset(request: Request) -> Response:
    """A script, a style or an icon, for good if the address is that of this content."""
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
        if snapshot := snapshot_of(application.models.get(version.name)[1]):
            needed = {each.name for each in version.schema.features if each.required}
            made_up = {name: value for name, value in example(version.schema).items() if name in needed}
            house = {**made_up, **typical_values(snapshot)}
            if not version.schema.violations(house):
                return house
    return example(version.schema)


PAGE_ROUTES = (Route("/assets/{digest}/{name}", asset),)
