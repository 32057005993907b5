"""Other houses, other prices: a model of the module's own, in place of the fixed one."""

import pytest

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.testing.doubles import FixedModel, fixed_version

FLATS = FeatureSchema((Feature("area", Kind.NUMBER, "m²", minimum=0.0), Feature("lift", Kind.BOOLEAN)))


@pytest.fixture
def housepredict_model():
    return FixedModel(lambda area, lift: 3000.0 * area + 20_000.0 * lift, fixed_version(FLATS))


@pytest.fixture
def housepredict_settings():
    return {"token": "a token for tests", "max_batch": 2}


def test_flats_are_priced_by_their_own_formula(housepredict_client):
    answer = housepredict_client.post("/predict", json=[{"area": 70, "lift": True}, {"area": 50.5, "lift": False}])
    assert [each["prediction"] for each in answer.json()["predictions"]] == [230_000, 151_500]


def test_no_more_are_priced_at_once_than_the_settings_let(housepredict_client):
    assert housepredict_client.post("/predict", json=[{"area": 70, "lift": True}] * 3).status_code == 422


def test_a_sale_is_recorded_by_whoever_has_the_token(housepredict_client):
    made = housepredict_client.post("/predict", json={"area": 70, "lift": True}).json()
    sale, path = {"price": 225_000, "date": "2025-05-02"}, f"/predictions/{made['id']}/sale"
    assert housepredict_client.post(path, json=sale).status_code == 401
    bearer = {"Authorization": "Bearer a token for tests"}
    assert housepredict_client.post(path, json=sale, headers=bearer).is_success
