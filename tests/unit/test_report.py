"""The documents of the command line."""

from __future__ import annotations

import json

from hypothesis import given

from housepredict.domain.estimates import Prediction
from housepredict.entrypoints.http.predict import written
from housepredict.entrypoints.report import prediction_document
from housepredict.testing.drawn_predictions import batches, estimates

ALIKE = ("id", "prediction", "interval", "fsd", "model_version", "valued_on")


@given(batches(estimates, min_size=1))
def test_an_estimate_is_told_in_the_form_that_http_has(batch: list[Prediction]) -> None:
    for each in batch:
        document, answer = prediction_document(each), json.loads(written([each], {}, b"{}"))
        assert list(document)[:5] == list(answer)[:5]
        assert json.loads(json.dumps([document[name] for name in ALIKE])) == [answer[name] for name in ALIKE]
