"""Finds the failed requests behind a load balancer: those without an answer, or with a status other than 2xx.

Some don't count, because no balancer could avoid them, or because the promises allow them:

- A request without an answer that was sent more than half a drain period after the balancer's last poll of the service.
  The balancer couldn't know that the service was draining: a machine with busy processors delays the balancer.
- The status 503 during an outage of the database for requests that need it: estimates with an idempotency key,
  erasures, reads of single predictions, and requests about sales. Lists and estimates without a key must always work.
- The status 410 for erased predictions, and 404 for reads. The checker and `missing_elsewhere` decide whether a 404 is
  correct.
"""

from __future__ import annotations

from collections.abc import Mapping

from campaign.balancer import BalancedClients, Outages
from campaign.history import Action, Operation

_VISIBLE_AFTER_S = 20.0
"""Time after which all services must show a stored prediction: the promised 15 s, and a margin."""


def failed(clients: BalancedClients) -> list[Operation]:
    """Return the failed requests, by the rules above."""
    history = clients.operations
    maybe_erased = {operation.id for operation in history if operation.action is Action.ERASE}
    ids_of_keys: dict[str | None, set[str]] = {}
    for operation in history:
        if operation.action is Action.ESTIMATE and operation.key and operation.status == 200:
            ids_of_keys.setdefault(operation.key, set()).add(operation.answer["id"])
    return [
        operation
        for operation in history
        if not (
            (operation.status is not None and 200 <= operation.status < 300)
            or any(operation is known for known in clients.unavoidable)
            or _is_due_to_outage(operation, clients.outages)
            or _is_due_to_erasure(operation, maybe_erased, ids_of_keys)
            or (operation.action in (Action.FIND, Action.SALE) and operation.status == 404)
        )
    ]


def missing_elsewhere(clients: BalancedClients) -> list[Operation]:
    """Return reads that missed predictions which another service had stored in the same database long enough before."""
    history = clients.operations
    maybe_erased = {operation.id for operation in history if operation.action is Action.ERASE}
    estimate: dict[str, Operation] = {}
    for operation in history:
        if operation.action is Action.ESTIMATE and operation.status == 200:
            estimate.setdefault(operation.answer["id"], operation)
    return [
        operation
        for operation in history
        if operation.action is Action.FIND
        and operation.status == 404
        and operation.id not in maybe_erased
        and operation.began > estimate[operation.id or ""].ended + _VISIBLE_AFTER_S
        and not clients.outages.overlap(estimate[operation.id or ""].began, operation.ended)
    ]


def _is_due_to_outage(operation: Operation, outages: Outages) -> bool:
    needs_database = operation.action not in (Action.ESTIMATE, Action.LIST) or operation.key is not None
    return operation.status == 503 and needs_database and outages.overlap(operation.began, operation.ended)


def _is_due_to_erasure(
    operation: Operation, maybe_erased: set[str | None], ids_of_keys: Mapping[str | None, set[str]]
) -> bool:
    if operation.status != 410:
        return False
    ids = ids_of_keys.get(operation.key, set()) if operation.action is Action.ESTIMATE else {operation.id}
    return bool(ids & maybe_erased)
