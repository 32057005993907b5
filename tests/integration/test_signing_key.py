"""A configured signing key applies to training, listing, promoting and serving."""

from __future__ import annotations

from pathlib import Path

import pytest

import housepredict
from housepredict import Prices, RefusedModel
from housepredict.adapters.memory import InMemoryModels
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import read_settings

HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
KEY, OTHER = bytes(range(32)).hex(), bytes(range(32, 64)).hex()


def opened(data_dir: Path, key: str = "", *, demo: bool = False) -> Prices:
    return housepredict.open(data_dir, database_url="memory:", demo=demo, environment={"HOUSEPREDICT_SIGNING_KEY": key})


def test_signed_version_is_rejected_only_with_other_key(tmp_path: Path) -> None:
    with opened(tmp_path, KEY) as prices:
        version = prices.train(None).version
        assert prices.predict(HOUSE).price == 254206.02
    for key in KEY, f"{OTHER} {KEY}", "":
        with opened(tmp_path, key) as prices:
            assert prices.promote(version.name).name == version.name
            assert prices.predict(HOUSE).estimate.model_version == version.name
            assert len(prices.models()) == 1
    with opened(tmp_path, OTHER, demo=True) as prices:
        for call in lambda: prices.predict(HOUSE), lambda: prices.model, lambda: prices.promote(version.name):
            with pytest.raises(RefusedModel, match="append that key, or train again"):
                call()
        assert prices.models() == []


def test_training_replaces_unsigned_version(tmp_path: Path) -> None:
    with opened(tmp_path) as prices:
        unsigned = prices.train(None).version
    with opened(tmp_path, KEY) as prices:
        with pytest.raises(RefusedModel, match=f"{unsigned.name} is not signed"):
            prices.predict(HOUSE)
        training = prices.train(None)
        assert training.verdict.promoted
        assert "is not signed" in training.verdict.reasons[0]
        assert prices.model == training.version
        with pytest.raises(RefusedModel, match="is not signed"):
            prices.rollback()
        assert prices.predict(HOUSE).estimate.model_version == training.version.name


def test_demonstration_needs_no_signature(tmp_path: Path) -> None:
    with opened(tmp_path, KEY, demo=True) as prices:
        assert prices.predict(HOUSE).estimate.model_version == "demonstration"


def test_custom_model_store_requires_signatures(tmp_path: Path) -> None:
    store = InMemoryModels()
    for key in "", KEY:
        settings = read_settings({"HOUSEPREDICT_SIGNING_KEY": key}, data_dir=tmp_path, database_url="memory:")
        with Application(settings) as application:
            application.storage.model_store = store
            prices = Prices(application)
            if key:
                with pytest.raises(RefusedModel, match="is not signed"):
                    prices.predict(HOUSE)
            prices.train(None)
            assert len(prices.models()) == 1
    assert len(store.versions()) == 2


def test_signing_key_is_not_stored_or_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with opened(tmp_path, KEY) as prices:
        prices.train(None)
        prices.predict(HOUSE)
        assert KEY not in repr(prices)
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert any(b'"signature": "' in content for content in files)
    for content in *files, caplog.text.encode():
        assert KEY.encode() not in content
        assert bytes.fromhex(KEY) not in content
