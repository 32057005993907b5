"""The latest sales, to evaluate a model on what came after all that it had learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from itertools import accumulate

from attrs import frozen

from housepredict.domain.inference import MIN_SALES
from housepredict.domain.sales import Sale

LATEST_SHARE = 0.2


@frozen
class LatestSales:
    """The sales of `since` and after, and the earlier ones of other houses."""

    since: date
    earlier: Sequence[Sale]
    latest: Sequence[Sale]


def latest_sales(sales: Sequence[Sale]) -> LatestSales | str:
    """The latest fifth, or as near to it as whole days come; or why there is none, for a sentence.

    Earlier sales of a house that is among the latest are on neither side: see `is_held_out`.
    """
    counts = Counter(sale.sold_on for sale in sales if sale.sold_on)
    days = sorted(counts, reverse=True)
    if len(days) < 2:
        return "they are all of one date" if days else "they have no dates"
    wanted = LATEST_SHARE * len(sales)
    # the first day has to be earlier
    so_many = dict(zip(days[:-1], accumulate(counts[day] for day in days), strict=False))
    since = min(so_many, key=lambda day: abs(so_many[day] - wanted))
    latest = [sale for sale in sales if sale.sold_on and sale.sold_on >= since]
    houses = {sale.house_key for sale in latest}
    earlier = [sale for sale in sales if sale.sold_on and sale.sold_on < since and sale.house_key not in houses]
    if min(len(earlier), len(latest)) < MIN_SALES:
        return (
            f"{len(latest)} are since {since} and {len(earlier)} of other houses before: {MIN_SALES} are needed of each"
        )
    return LatestSales(since, earlier, latest)
