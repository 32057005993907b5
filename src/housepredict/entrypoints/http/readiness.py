"""Whether an estimate could be given and remembered now, and if not, why."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from housepredict.domain.errors import HousepredictError, RepositoryUnavailable
from housepredict.domain.models import ModelVersion
from housepredict.entrypoints.answer_documents import backlog_document
from housepredict.entrypoints.composition import Application


def in_service(application: Application) -> ModelVersion | None:
    """The version in service, if there is one."""
    try:
        return application.live_model.current().version
    except HousepredictError:
        return None


def readiness_checks(application: Application) -> dict[str, dict[str, Any]]:
    """What it takes to estimate and remember, and whether it is there, by name."""
    live = application.live_model
    checks = {"model": _check(live.current), "predictions": _check(application.records.check)}
    if serving := live.serving:
        checks["model"] |= {"model_version": serving.version.name, "generation": serving.generation}
        if refusal := live.refusal:
            checks["model"]["refused"] = str(refusal)
    with suppress(RepositoryUnavailable):
        if backlog := application.records.backlog():
            checks["predictions"]["spool"] = backlog_document(backlog) | {"reason": backlog.reason}
    return checks


def _check(look: Callable[[], object]) -> dict[str, Any]:
    try:
        look()
    except HousepredictError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True}


def all_passed(checks: dict[str, dict[str, Any]]) -> bool:
    """Whether it is all there."""
    return all(check["ok"] for check in checks.values())
