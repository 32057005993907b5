"""What every repository must do, and what this one does beyond: it outlives the process, and shares its folder."""

import multiprocessing
from contextlib import ExitStack

import pytest
from housepredict_lmdb import open_predictions
from hypothesis import given

import housepredict
from housepredict.testing.drawing import batches, newest_first
from housepredict.testing.prediction_contract import PredictionRepositoryContract

HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}


class TestLmdbPredictions(PredictionRepositoryContract):
    @pytest.fixture
    def opened(self):
        with ExitStack() as opened:
            yield opened

    @pytest.fixture
    def repository(self, opened, tmp_path):
        return opened.enter_context(open_predictions(f"lmdb://{tmp_path}"))

    @pytest.fixture
    def reopened(self, opened, tmp_path):
        def reopen():
            opened.close()  # a process has it open once
            return open_predictions(f"lmdb://{tmp_path}")

        return reopen


@given(batch=batches(min_size=1))
def test_predictions_outlive_the_process(tmp_path_factory, batch):
    url = f"lmdb://{tmp_path_factory.mktemp('a folder')}".replace(" ", "%20")
    with open_predictions(url) as repository:
        repository.append(batch)
    with open_predictions(url) as repository:
        assert list(repository.recent(len(batch))) == newest_first(batch)


def estimate(url, data_dir):
    with housepredict.open(data_dir, database_url=url, demo=True, environment={}) as prices:
        prices.predict(HOUSE)


def test_it_is_found_by_its_scheme_and_processes_share_it(tmp_path):
    url, data_dir = f"lmdb://{tmp_path}/predictions", tmp_path / "data"
    with housepredict.open(data_dir, database_url=url, demo=True, environment={}) as prices:
        made = prices.predict(HOUSE)
        other = multiprocessing.get_context("spawn").Process(target=estimate, args=(url, data_dir))
        other.start()
        other.join()
        assert [each.price for each in prices.predictions()] == [254206.02, 254206.02]
        # sales that come back are in the data folder, and find their predictions here
        assert prices.record_sale(made.id, 250000, "2025-06-02").prediction == made


def test_a_folder_that_cannot_be_had_is_an_error_of_housepredict(tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    with (
        pytest.raises(housepredict.RepositoryUnavailable),
        housepredict.open(tmp_path, database_url=f"lmdb://{tmp_path}/file", demo=True, environment={}) as prices,
    ):
        prices.predict(HOUSE)


def test_another_opening_in_the_same_process_says_why_not(tmp_path):
    url = f"lmdb://{tmp_path}"
    with open_predictions(url), pytest.raises(housepredict.RepositoryUnavailable), open_predictions(url):
        pass
