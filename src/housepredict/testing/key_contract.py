"""The contract of PredictionKeys, as tests: what the service takes for granted of every adapter, yours too.

class TestMyKeys(PredictionKeysContract):
    @pytest.fixture
    def keys(self):
        with MyKeys(...) as keys:
            yield keys
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from threading import Barrier
from uuid import UUID

import pytest

from housepredict.domain.errors import RepeatedKey
from housepredict.domain.idempotency import Delivery
from housepredict.domain.ports import PredictionKeys
from housepredict.testing.drawing import new_delivery, new_sale_ids

Another = Callable[[], AbstractContextManager[PredictionKeys]]

_THREADS = 8


class PredictionKeysContract:
    """Subclass it, and say what `keys` is.

    Where two of them can be open over the same data, say in `another` how: what one keeps, the other has to know.
    """

    @pytest.fixture
    def keys(self) -> PredictionKeys:
        """What is tested, without any key."""
        raise NotImplementedError

    @pytest.fixture
    def another(self, keys: PredictionKeys) -> Another:
        """Opens one more over the same data."""
        return lambda: nullcontext(keys)

    def test_a_key_that_never_came_is_not_known(self, keys: PredictionKeys) -> None:
        keys.reserve(new_delivery(), new_sale_ids(1))
        assert keys.find(new_delivery()) is None

    @pytest.mark.parametrize("count", [1, 1000])
    def test_the_ids_that_came_first_are_kept_in_their_order(
        self, keys: PredictionKeys, another: Another, count: int
    ) -> None:
        delivery, ids = new_delivery(), list(reversed(new_sale_ids(count)))
        assert _same(keys.reserve(delivery, ids), ids)
        with another() as other:
            assert _same(other.find(delivery), ids)
            assert _same(other.reserve(delivery, new_sale_ids(count)), ids)
        assert _same(keys.find(delivery), ids)

    def test_a_key_that_comes_with_something_else_is_refused(self, keys: PredictionKeys) -> None:
        delivery, ids = new_delivery(), new_sale_ids(2)
        other = Delivery(delivery.key, "f" * 64)
        keys.reserve(delivery, ids)
        with pytest.raises(RepeatedKey):
            keys.find(other)
        with pytest.raises(RepeatedKey):
            keys.reserve(other, new_sale_ids(2))
        assert list(keys.find(delivery) or []) == ids

    def test_keys_differ_in_every_character(self, keys: PredictionKeys) -> None:
        made = {key: new_sale_ids(1) for key in ("deed-1", "Deed-1", "deed-1%", "'deed-1'")}
        for key, ids in made.items():
            assert list(keys.reserve(Delivery(key, "0" * 64), ids)) == list(ids)
        assert {key: list(keys.find(Delivery(key, "0" * 64)) or []) for key in made} == {
            key: list(ids) for key, ids in made.items()
        }

    def test_old_keys_are_pruned_the_oldest_first_and_no_more_than_asked(self, keys: PredictionKeys) -> None:
        deliveries = [new_delivery() for _ in range(4)]
        ids = [new_sale_ids(2) for _ in deliveries]
        for delivery, each in reversed(list(zip(deliveries, ids, strict=True))):
            keys.reserve(delivery, each)

        def known() -> list[bool]:
            return [keys.find(each) is not None for each in deliveries]

        assert keys.prune(ids[0][0], 10) == 0
        assert keys.prune(ids[3][0], 2) == 2
        assert known() == [False, False, True, True]
        assert keys.prune(ids[3][0], 2) == 1
        assert known() == [False, False, False, True]
        again = new_sale_ids(1)
        assert list(keys.reserve(deliveries[0], again)) == list(again)

    def test_pruned_keys_are_free_for_another_request(self, keys: PredictionKeys, another: Another) -> None:
        delivery, other, ids = new_delivery(), new_delivery(), new_sale_ids(3)
        keys.reserve(delivery, ids[:1])
        keys.reserve(other, ids[1:2])
        assert keys.prune(ids[1], 10) == 1
        with another() as later:
            assert later.find(delivery) is None
            changed = Delivery(delivery.key, "f" * 64)
            assert later.find(changed) is None
            assert _same(later.reserve(changed, ids[2:]), ids[2:])
            assert _same(later.find(other), ids[1:2])

    def test_all_who_come_at_once_with_one_key_get_the_same_ids(self, keys: PredictionKeys, another: Another) -> None:
        with another() as other, ThreadPoolExecutor(_THREADS) as threads:
            for _ in range(5):
                delivery, start = new_delivery(), Barrier(_THREADS)

                def reserve(number: int, delivery: Delivery = delivery, start: Barrier = start) -> tuple[UUID, ...]:
                    start.wait(10)
                    return tuple((keys, other)[number % 2].reserve(delivery, new_sale_ids(2)))

                assert len(set(threads.map(reserve, range(_THREADS)))) == 1


def _same(found: Sequence[UUID] | None, ids: Sequence[UUID]) -> bool:
    """A function, since pytest takes minutes to tell how a thousand ids differ from a thousand others."""
    return list(found or []) == list(ids)
