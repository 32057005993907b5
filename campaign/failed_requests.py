"""Decides which requests behind a load balancer have failed: every one whose answer is not 2xx, or that got none.

What no balancer can avoid does not count, nor what was promised to be answered so:

- A request that got no answer and was sent later than half a drain period after the balancer last asked the service
  whether it is ready. The service then had no chance to be heard: a machine without a free processor delays balancers.
- During an outage of the database, 503 for what needs it by promise: estimates with an idempotency key, erasures,
  single predictions, and everything about sales. Lists, and estimates without a key, have to be answered at all times.
- 410 for what clients erased, and 404 for what they read. Whether a 404 is right, the checker decides, and
  `missing_elsewhere`.
"""

from __future__ import annotations

from collections.abc import Mapping

from campaign.balancer import BalancedClients, Outages
from campaign.history import Action, Operation

_ARRIVAL = 20.0
"""Seconds after which a service shows what another one has stored: the 15 s of the promise, and some to spare."""


def failed(clients: BalancedClients) -> list[Operation]:
    """The requests that failed, by the rules above."""
    history = clients.operations
    asked_to_erase = {each.id for each in history if each.action is Action.ERASE}
    ids_of_keys: dict[str | None, set[str]] = {}
    for each in history:
        if each.action is Action.ESTIMATE and each.key and each.status == 200:
            ids_of_keys.setdefault(each.key, set()).add(each.answer["id"])
    return [
        each
        for each in history
        if not (
            (each.status is not None and 200 <= each.status < 300)
            or any(each is known for known in clients.unavoidable)
            or _is_due_to_outage(each, clients.outages)
            or _is_due_to_erasure(each, asked_to_erase, ids_of_keys)
            or (each.action in (Action.FIND, Action.SALE) and each.status == 404)
        )
    ]


def missing_elsewhere(clients: BalancedClients) -> list[Operation]:
    """Reads that did not show what another service had stored in the same database, long enough before."""
    history = clients.operations
    asked_to_erase = {each.id for each in history if each.action is Action.ERASE}
    made: dict[str, Operation] = {}
    for each in history:
        if each.action is Action.ESTIMATE and each.status == 200:
            made.setdefault(each.answer["id"], each)
    return [
        each
        for each in history
        if each.action is Action.FIND
        and each.status == 404
        and each.id not in asked_to_erase
        and each.began > made[each.id or ""].ended + _ARRIVAL
        and not clients.outages.overlap(made[each.id or ""].began, each.ended)
    ]


def _is_due_to_outage(operation: Operation, outages: Outages) -> bool:
    needs_database = operation.action not in (Action.ESTIMATE, Action.LIST) or operation.key is not None
    return operation.status == 503 and needs_database and outages.overlap(operation.began, operation.ended)


def _is_due_to_erasure(
    operation: Operation, asked_to_erase: set[str | None], ids_of_keys: Mapping[str | None, set[str]]
) -> bool:
    if operation.status != 410:
        return False
    ids = ids_of_keys.get(operation.key, set()) if operation.action is Action.ESTIMATE else {operation.id}
    return bool(ids & asked_to_erase)
