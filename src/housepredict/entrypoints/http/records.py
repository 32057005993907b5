"""The routes for single predictions that are remembered."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from housepredict.entrypoints.http.access import require_access
from housepredict.entrypoints.http.answers import HEADERS, json_response, recorded_document
from housepredict.entrypoints.http.requests import application_of


async def prediction(request: Request) -> Response:
    """One prediction, as in the list of them; or it is erased."""
    records, id_ = application_of(request).records, request.path_params["id"]
    if request.method != "DELETE":
        return json_response(recorded_document(await run_in_threadpool(records.one, id_)))
    require_access(request)
    await run_in_threadpool(records.erase, [id_])
    return Response(status_code=204, headers=HEADERS)


RECORD_ROUTES = (Route("/predictions/{id}", prediction, methods=["GET", "DELETE"]),)
