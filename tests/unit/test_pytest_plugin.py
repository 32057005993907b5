"""The plug-in for pytest in runs of other people: it is there when it is asked for, and is not noticed otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from housepredict.entrypoints import pytest_plugin
from tests.plugins import write_project_metadata

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

UNRELATED = """
import sys

def test_nothing_of_housepredict_is_loaded_but_the_plug_in(request):
    assert request.config.pluginmanager.has_plugin("housepredict")
    heavy = {"numpy", "starlette", "cattrs", "uvicorn", "httpx2", "prometheus_client"}
    assert not heavy & {name.partition(".")[0] for name in sys.modules}
    own = {name for name in sys.modules if name.startswith("housepredict")}
    assert own == {
        "housepredict", "housepredict.version", "housepredict.entrypoints", "housepredict.entrypoints.pytest_plugin"
    }

def test_no_fixture_is_used_that_nobody_asked_for(request):
    assert not [name for name in request.fixturenames if "housepredict" in name]
"""
USING = """
import pytest

def test_the_service_answers(housepredict_client, housepredict_prices, housepredict_clock):
    house = {"size": 2000, "bedrooms": 3, "age": 15}
    assert housepredict_client.post("/predict", json=house).json()["prediction"] == 200_000
    (kept,) = housepredict_prices.predictions()
    assert kept.created_at == housepredict_clock.now()

def test_the_next_test_has_another(housepredict_client):
    assert housepredict_client.get("/predictions").json() == {"predictions": []}

def test_no_numbers_are_computed_with(housepredict_client):
    import sys
    assert "numpy" not in sys.modules
"""
SUITE = """
import pytest
from housepredict.adapters.memory import InMemoryPredictions
from housepredict.testing.prediction_contract import PredictionRepositoryContract

class Unready(InMemoryPredictions):
    def recent(self, limit, before=None):
        return [1]

class TestUnready(PredictionRepositoryContract):
    @pytest.fixture
    def repository(self):
        return Unready()
"""


def pytest_run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of somebody else's tests, strict as can be, beside whom the package is installed."""
    write_project_metadata(folder / "installed", ROOT)
    (folder / "test_theirs.py").write_text(code, encoding="utf-8")
    path = os.pathsep.join([str(folder / "installed"), str(ROOT / "src")])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers"]
    return subprocess.run(
        [*command, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


# plug-ins that happen to be installed, too, and load what they like
WITHOUT_OTHERS = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:schemathesis")


def test_a_run_that_does_not_need_it_loads_nothing_for_it(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, UNRELATED, *WITHOUT_OTHERS)
    assert run.stdout.splitlines()[-1].startswith("2 passed in"), run.stdout + run.stderr


def test_its_fixtures_serve_a_test_and_then_are_gone(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, USING, *WITHOUT_OTHERS)
    assert run.stdout.splitlines()[-1].startswith("3 passed in"), run.stdout + run.stderr


def test_assertions_of_the_suites_explain_themselves(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, SUITE, "-k", "empty_repository", "-p", "no:schemathesis")
    assert "assert [1] == []" in run.stdout, run.stdout + run.stderr


def test_its_names_are_its_own() -> None:
    fixtures = [
        name for name, value in vars(pytest_plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert len(fixtures) == 8
    assert all(name.startswith("housepredict_") for name in fixtures)
    assert not [name for name in vars(pytest_plugin) if name.startswith("pytest_")]


def test_a_run_may_do_without_it(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, USING, "-p", "no:housepredict", *WITHOUT_OTHERS)
    assert "fixture 'housepredict_client' not found" in run.stdout, run.stdout + run.stderr
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
