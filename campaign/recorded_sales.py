"""Decides whether the sales that were recorded, and acknowledged, are what is stored and read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from enum import StrEnum

from attrs import frozen

from campaign.checker import Violation
from campaign.history import Action, Operation


class SaleRule(StrEnum):
    """What must not happen to sales."""

    LOST_SALE = "an acknowledged sale is not stored"
    CHANGED_SALE = "a sale that is stored or read differs from the one that was sent"
    SALE_TWICE = "one sale is stored more than once"
    SALE_UNASKED = "nobody sent a sale that is stored"
    LATE_SALE = "an acknowledged sale could not be read"
    SALE_OF_ERASED = "a sale of an erased estimate was read, or is stored"
    UNEQUAL_SALES = "one idempotency key has different sales"


@frozen
class StoredSale:
    """A sale as the database holds it in the end."""

    id: str
    prediction: str
    price: float


def check_sales(history: Sequence[Operation], stored: Sequence[StoredSale]) -> list[Violation]:
    """Every violation, rule by rule. Each prediction has one sale at most. What was erased may be gone."""
    return [Violation(rule, by) for rule, by in _violations(history, stored)]


def _violations(history: Sequence[Operation], stored: Sequence[StoredSale]) -> Iterator[tuple[SaleRule, object]]:
    sent: dict[float, str] = {}
    acknowledged: dict[str, Operation] = {}
    by_key: dict[str, Operation] = {}
    tried_to_erase: set[str] = set()
    erased: dict[str, float] = {}
    for each in sorted(history, key=lambda operation: operation.ended):
        assert each.action is Action.LIST or each.action is Action.ESTIMATE or each.id
        if each.action is Action.ERASE:
            tried_to_erase.add(each.id or "")
            if each.status == 204:
                erased.setdefault(each.id or "", each.ended)
        elif each.action is Action.RECORD:
            sent[each.price or 0.0] = each.id or ""
            if each.status in (201, 202):
                acknowledged.setdefault(each.id or "", each)
                if each.key and by_key.setdefault(each.key, each).answer["id"] != each.answer["id"]:
                    yield SaleRule.UNEQUAL_SALES, each
    yield from _of_records(acknowledged, sent, stored, tried_to_erase, erased)
    for read in history:
        if read.action is not Action.SALE:
            continue
        made = acknowledged.get(read.id or "")
        if read.status == 404 and made and made.ended < read.began and read.id not in tried_to_erase:
            yield SaleRule.LATE_SALE, read
        elif read.status == 200 and erased.get(read.id or "", read.began) < read.began:
            yield SaleRule.SALE_OF_ERASED, read
        elif read.status == 200 and sent.get(read.answer["price"]) != read.id:
            yield SaleRule.CHANGED_SALE, read


def _of_records(
    acknowledged: dict[str, Operation],
    sent: dict[float, str],
    stored: Sequence[StoredSale],
    tried_to_erase: set[str],
    erased: dict[str, float],
) -> Iterator[tuple[SaleRule, object]]:
    by_prediction = {each.prediction: each for each in stored}
    for prediction, operation in acknowledged.items():
        kept = by_prediction.get(prediction)
        if kept is None:
            if prediction not in tried_to_erase:
                yield SaleRule.LOST_SALE, operation
        elif (kept.id, kept.price) != (operation.answer["id"], operation.price):
            yield SaleRule.CHANGED_SALE, (operation, kept)
    often = Counter(each.price for each in stored)
    for each in stored:
        if each.price not in sent:
            yield SaleRule.SALE_UNASKED, each
        elif sent[each.price] != each.prediction:
            yield SaleRule.CHANGED_SALE, each
        elif often[each.price] > 1:
            yield SaleRule.SALE_TWICE, each
        if each.prediction in erased:
            yield SaleRule.SALE_OF_ERASED, each
