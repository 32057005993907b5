"""The pytest plugin in test runs of other projects: available on request, without cost otherwise."""

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

def test_only_plugin_of_housepredict_is_loaded(request):
    assert request.config.pluginmanager.has_plugin("housepredict")
    heavy = {"numpy", "starlette", "cattrs", "uvicorn", "httpx2", "prometheus_client"}
    assert not heavy & {name.partition(".")[0] for name in sys.modules}
    loaded = {name for name in sys.modules if name.startswith("housepredict")}
    assert loaded == {
        "housepredict", "housepredict.version", "housepredict.entrypoints", "housepredict.entrypoints.pytest_plugin"
    }

def test_unrequested_fixtures_are_not_used(request):
    assert not [name for name in request.fixturenames if "housepredict" in name]
"""
USING = """
import pytest

def test_service_answers(housepredict_client, housepredict_prices, housepredict_clock):
    house = {"size": 2000, "bedrooms": 3, "age": 15}
    assert housepredict_client.post("/predict", json=house).json()["prediction"] == 200_000
    (stored,) = housepredict_prices.predictions()
    assert stored.created_at == housepredict_clock.now()

def test_next_test_has_new_service(housepredict_client):
    assert housepredict_client.get("/predictions").json() == {"predictions": []}

def test_numpy_is_not_imported(housepredict_client):
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
    """Run the tests of another project in strict mode with housepredict installed."""
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


# Other installed plugins import modules of their own.
WITHOUT_OTHERS = ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:schemathesis")


def test_unrelated_run_loads_only_plugin(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, UNRELATED, *WITHOUT_OTHERS)
    assert run.stdout.splitlines()[-1].startswith("2 passed in"), run.stdout + run.stderr


def test_fixtures_serve_one_test_each(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, USING, *WITHOUT_OTHERS)
    assert run.stdout.splitlines()[-1].startswith("3 passed in"), run.stdout + run.stderr


def test_contract_assertions_are_rewritten(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, SUITE, "-k", "empty_repository", "-p", "no:schemathesis")
    assert "assert [1] == []" in run.stdout, run.stdout + run.stderr


def test_fixture_names_are_prefixed() -> None:
    fixtures = [
        name for name, value in vars(pytest_plugin).items() if type(value).__name__ == "FixtureFunctionDefinition"
    ]
    assert len(fixtures) == 8
    assert all(name.startswith("housepredict_") for name in fixtures)
    assert not [name for name in vars(pytest_plugin) if name.startswith("pytest_")]


def test_plugin_can_be_disabled(tmp_path: Path) -> None:
    run = pytest_run(tmp_path, USING, "-p", "no:housepredict", *WITHOUT_OTHERS)
    assert "fixture 'housepredict_client' not found" in run.stdout, run.stdout + run.stderr
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
