"""The campaign's sales checker reports every kind of violation."""

from __future__ import annotations

from typing import Any

import pytest

from campaign.history import Action, Operation
from campaign.recorded_sales import SaleRule, StoredSale, check_sales

SENT = Operation(Action.RECORD, "left", 1, 2, 201, id="p", key="sale-1", price=1.0, answer={"id": "s", "price": 1.0})
STORED = StoredSale("s", "p", 1.0)


def read(began: float, status: int = 200, price: float = 1.0) -> Operation:
    answer = {"price": price} if status == 200 else None
    return Operation(Action.SALE, "right", began, began + 1, status, id="p", answer=answer)


def erased(began: float, status: int | None = 204) -> Operation:
    return Operation(Action.ERASE, "left", began, began + 1, status, id="p")


def rules(history: list[Operation], stored: list[StoredSale]) -> set[Any]:
    return {each.rule for each in check_sales(history, stored)}


@pytest.mark.parametrize(
    ("history", "stored"),
    [
        pytest.param([SENT, read(3), erased(5), read(7, 404)], [], id="erased"),
        pytest.param([SENT, SENT, read(3)], [STORED], id="stored"),
        pytest.param([SENT, erased(3, None)], [], id="possibly-erased"),
        pytest.param([read(0, 404), SENT], [STORED], id="read-before"),
    ],
)
def test_correct_history_breaks_no_rule(history: list[Operation], stored: list[StoredSale]) -> None:
    assert rules(history, stored) == set()


@pytest.mark.parametrize(
    ("history", "stored", "rule"),
    [
        ([SENT], [], SaleRule.LOST_SALE),
        ([SENT], [StoredSale("another", "p", 1.0)], SaleRule.CHANGED_SALE),
        ([SENT], [STORED, StoredSale("s2", "another", 1.0)], SaleRule.CHANGED_SALE),
        ([SENT, read(3, price=2.0)], [STORED], SaleRule.CHANGED_SALE),
        ([SENT], [StoredSale("s2", "p", 1.0), STORED], SaleRule.SALE_TWICE),
        ([SENT], [STORED, StoredSale("s2", "p2", 2.0)], SaleRule.SALE_UNASKED),
        ([SENT, read(3, 404)], [STORED], SaleRule.LATE_SALE),
        ([SENT, erased(3)], [STORED], SaleRule.SALE_OF_ERASED),
        ([SENT, erased(3), read(5)], [], SaleRule.SALE_OF_ERASED),
    ],
)
def test_fault_is_reported_by_its_rule(history: list[Operation], stored: list[StoredSale], rule: SaleRule) -> None:
    assert rule in rules(history, stored)


def test_different_answers_to_one_key_are_reported() -> None:
    repeated = Operation(Action.RECORD, "right", 3, 4, 201, id="p", key="sale-1", price=1.0, answer={"id": "t"})
    assert SaleRule.UNEQUAL_SALES in rules([SENT, repeated], [STORED])
