"""What the document says of the service itself: what there is, and how it fares."""

from __future__ import annotations

from collections.abc import Mapping

from housepredict.entrypoints.http.openapi.operations import (
    FLAG,
    HTML,
    OF_PAGE,
    TEXT,
    VARYING,
    Answer,
    Json,
    Operation,
    about,
    an_object,
    by_name,
    header,
    in_path,
    nullable,
    ref,
)
from housepredict.entrypoints.pages.assets import assets

_CHECK: Json = {"ok": FLAG, "reason": about(TEXT, "Why not.")}
_IN_SERVICE: Json = {
    "model_version": about(TEXT, "The version in service."),
    "generation": about(nullable({"type": "integer"}), "The promotion by which that version serves."),
    "refused": about(TEXT, "Why what serves is not what is promoted."),
}

SCHEMAS: Mapping[str, Json] = {
    "Index": an_object(
        {
            "title": TEXT,
            "version": TEXT,
            "endpoints": about(by_name(TEXT), "What each route does."),
            "example_request": an_object({"url": TEXT, "method": TEXT, "body": {"type": "object"}}),
        }
    ),
    "Health": an_object(
        {
            "status": {"type": "string", "enum": ["healthy", "degraded"]},
            "model_loaded": FLAG,
            "model_version": nullable(TEXT),
        }
    ),
    "Alive": an_object({"status": {"type": "string", "enum": ["alive"]}}),
    "Readiness": an_object(
        {
            "status": {"type": "string", "enum": ["ready", "not ready", "stopping"]},
            "checks": an_object(
                {
                    "model": an_object({**_CHECK, **_IN_SERVICE}, optional=["reason", *_IN_SERVICE]),
                    "predictions": an_object({**_CHECK, "spool": ref("Backlog")}, optional=["reason", "spool"]),
                }
            ),
        }
    ),
}

_TAG = header("If-None-Match", TEXT, "The ETag of what is there already.")
_CACHED: Json = {"ETag": TEXT, "Cache-Control": TEXT}


def _cached(what: Answer) -> Mapping[int, Answer]:
    return {200: what, 304: Answer("It is still what was sent before.", headers=_CACHED, always=("ETag",))}


OPERATIONS: Mapping[str, Operation] = {
    "GET /": Operation(
        "getIndex",
        "Service",
        {
            200: Answer(
                "What there is, and a request to try; for browsers a page to estimate with.",
                ref("Index"),
                also={HTML: TEXT},
                headers={**VARYING, **OF_PAGE},
                always=["Vary"],
            )
        },
    ),
    "GET /assets/{digest}/{name}": Operation(
        "getAsset",
        "Service",
        {
            200: Answer(
                "The file. It may be kept for good if the digest is that of this release.",
                TEXT,
                "text/javascript",
                also={"text/css": TEXT, "image/svg+xml": TEXT},
                headers={"Cache-Control": TEXT},
                always=["Cache-Control"],
            )
        },
        problems=["not-found"],
        faults=["internal-error"],
        parameters=[
            in_path("digest", TEXT, "What the page has there: it changes with what is loaded."),
            in_path("name", {"type": "string", "enum": list(assets().files)}, "The file."),
        ],
    ),
    "GET /health": Operation("getHealth", "Service", {200: Answer("The process answers.", ref("Health"))}),
    "GET /health/live": Operation(
        "getLiveness",
        "Service",
        {200: Answer("The process answers.", ref("Alive"))},
        faults=["internal-error"],
    ),
    "GET /health/ready": Operation(
        "getReadiness",
        "Service",
        {
            200: Answer("An estimate could be given and recorded now.", ref("Readiness")),
            503: Answer("It could not, or the service is about to stop.", ref("Readiness")),
        },
    ),
    "GET /metrics": Operation(
        "getMetrics",
        "Service",
        {
            200: Answer(
                "Metrics of requests, estimates, storage and the model, in Prometheus's text format or OpenMetrics.",
                TEXT,
                "text/plain",
                also={"application/openmetrics-text": TEXT},
            )
        },
    ),
    "GET /openapi.json": Operation(
        "getOpenApi",
        "Service",
        _cached(Answer("The document.", {"type": "object"}, headers=_CACHED, always=("ETag",))),
        parameters=[_TAG],
    ),
    "GET /docs": Operation(
        "getDocs",
        "Service",
        _cached(Answer("The page.", TEXT, "text/html", headers=_CACHED, always=("ETag",))),
        parameters=[_TAG],
    ),
}
