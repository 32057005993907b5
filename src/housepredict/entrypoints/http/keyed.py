"""Estimates that are asked for with an `Idempotency-Key`: off the hot path, in a worker thread."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from housepredict.domain.deliveries import Delivery
from housepredict.domain.errors import InvalidHouses
from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.bootstrap import Application
from housepredict.entrypoints.csv_table import houses_of_csv
from housepredict.entrypoints.http.requests import decode


def predict_for_key(
    application: Application, body: bytes, key: str, as_csv: bool
) -> tuple[object, Sequence[Prediction]]:
    """What a body says, and the predictions that were made for its key, whenever that was.

    Raises a Problem, or what PredictOnce raises.
    """
    # of the bytes: the answer repeats them, and they mean the same whatever is in service by then
    delivery = Delivery(key, hashlib.sha256((b"csv:" if as_csv else b"json:") + body).hexdigest())
    once = application.predict_once
    if as_csv:
        # which features its columns are is the model's to say, and that may be another one by the second time
        found = once.for_key(lambda: houses_of_csv(body, application.live_model.current().version.schema), delivery)
        return [each.estimate.house.values for each in found], found
    given = decode(body)
    if isinstance(given, list):
        return given, once.for_key(lambda: given, delivery)
    try:
        return given, once.for_key(lambda: [given], delivery)
    except InvalidHouses as error:
        raise error.alone() from None
