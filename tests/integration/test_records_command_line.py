"""The commands for predictions that are remembered, as whoever types them sees them, and the same from Python."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import housepredict
from housepredict import UnknownPrediction
from housepredict.entrypoints.cli import main

HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}
UNKNOWN = "01970000-0000-7000-8000-000000000001"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run housepredict in a folder of its own, with nothing else set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".housepredict").mkdir()

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def predicted(run: Run) -> Any:
    code, out, _ = run("predict", "--demo", "--json", "size=2500", "bedrooms=3", "age=10")
    assert code == 0
    return json.loads(out)


def test_a_prediction_is_shown(run: Run) -> None:
    prediction = predicted(run)
    code, out, _ = run("predictions", "show", prediction["id"])
    assert code == 0
    assert all(text in out for text in (prediction["id"], "254,206.02", "demonstration", "bedrooms", "synthetic data"))
    code, out, _ = run("predictions", "show", "--json", prediction["id"])
    assert (code, json.loads(out)) == (0, prediction)
    with housepredict.open() as prices:
        assert prices.prediction(prediction["id"]).price == 254206.02


@pytest.mark.parametrize("id_", [UNKNOWN, "17"])
def test_a_prediction_that_is_not_remembered_is_told(run: Run, id_: str) -> None:
    code, out, err = run("predictions", "show", id_)
    assert (code, out) == (4, "")
    assert err == f"housepredict: no prediction {id_} is remembered\n"
    with housepredict.open() as prices, pytest.raises(UnknownPrediction):
        prices.prediction(id_)
