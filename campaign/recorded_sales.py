"""Checks that acknowledged sales are stored and can be read unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from attrs import frozen

from campaign.checker import Violation
from campaign.history import Action, Operation


class SaleRule(StrEnum):
    """A rule about sales that must not be broken; its value describes the violation."""

    LOST_SALE = "an acknowledged sale is not stored"
    CHANGED_SALE = "a stored or read sale differs from the one that was sent"
    SALE_TWICE = "a sale is stored more than once"
    SALE_UNASKED = "a stored sale was never sent"
    LATE_SALE = "an acknowledged sale could not be read"
    SALE_OF_ERASED = "a sale of an erased estimate was read, or is stored"
    UNEQUAL_SALES = "answers for one idempotency key have different sales"


@frozen
class StoredSale:
    """A sale that is stored at the end."""

    id: str
    prediction: str
    price: float


def check_sales(history: Sequence[Operation], stored: Sequence[StoredSale]) -> list[Violation]:
    """Return all violations. Each prediction has at most one sale. Sales of erased predictions may be deleted."""
    return [Violation(rule, by) for rule, by in _find_violations(history, stored)]


def _find_violations(history: Sequence[Operation], stored: Sequence[StoredSale]) -> Iterator[tuple[SaleRule, object]]:
    sent: dict[float, str] = {}
    acknowledged: dict[str, Operation] = {}
    by_key: dict[str, Operation] = {}
    maybe_erased: set[str] = set()
    erased: dict[str, float] = {}
    for operation in sorted(history, key=lambda operation: operation.ended):
        assert operation.action is Action.LIST or operation.action is Action.ESTIMATE or operation.id
        if operation.action is Action.ERASE:
            maybe_erased.add(operation.id or "")
            if operation.status == 204:
                erased.setdefault(operation.id or "", operation.ended)
        elif operation.action is Action.RECORD:
            sent[operation.price or 0.0] = operation.id or ""
            if operation.status in (201, 202):
                acknowledged.setdefault(operation.id or "", operation)
                if operation.key and by_key.setdefault(operation.key, operation).answer["id"] != operation.answer["id"]:
                    yield SaleRule.UNEQUAL_SALES, operation
    yield from _check_records(acknowledged, sent, stored, maybe_erased, erased)
    for read in history:
        if read.action is not Action.SALE:
            continue
        recorded = acknowledged.get(read.id or "")
        if read.status == 404 and recorded and recorded.ended < read.began and read.id not in maybe_erased:
            yield SaleRule.LATE_SALE, read
        elif read.status == 200 and erased.get(read.id or "", read.began) < read.began:
            yield SaleRule.SALE_OF_ERASED, read
        elif read.status == 200 and sent.get(read.answer["price"]) != read.id:
            yield SaleRule.CHANGED_SALE, read


def _check_records(
    acknowledged: dict[str, Operation],
    sent: dict[float, str],
    stored: Sequence[StoredSale],
    maybe_erased: set[str],
    erased: dict[str, float],
) -> Iterator[tuple[SaleRule, object]]:
    by_prediction = {sale.prediction: sale for sale in stored}
    for prediction, operation in acknowledged.items():
        sale = by_prediction.get(prediction)
        if sale is None:
            if prediction not in maybe_erased:
                yield SaleRule.LOST_SALE, operation
        elif (sale.id, sale.price) != (operation.answer["id"], operation.price):
            yield SaleRule.CHANGED_SALE, (operation, sale)
    counts = Counter(sale.price for sale in stored)
    for sale in stored:
        if sale.price not in sent:
            yield SaleRule.SALE_UNASKED, sale
        elif sent[sale.price] != sale.prediction:
            yield SaleRule.CHANGED_SALE, sale
        elif counts[sale.price] > 1:
            yield SaleRule.SALE_TWICE, sale
        if sale.prediction in erased:
            yield SaleRule.SALE_OF_ERASED, sale
