"""Every command that needs storage reports that it is unreachable, and exits with 5."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.command_line import Run
from tests.integration.services import environment

ID = "01970000-0000-7000-8000-000000000001"
NEEDS_STORAGE = [
    "predictions",
    "predictions --json",
    f"predictions show {ID}",
    "export -o -",
    f"erase {ID}",
    "prune --keep 400d",
    "accuracy",
    f"sale {ID} --price 1000 --date 2025-01-01",
    "sales sales.csv",
    "models",
    "models show x",
    "models promote x",
    "models rollback",
    "trainings",
    f"trainings cancel {ID}",
    "predict --demo size=2500 bedrooms=3 age=10",
    "predict --demo --explain size=2500 bedrooms=3 age=10",
    "predict --demo houses.csv -o prices.csv",
    "drift --json",
    "train --synthetic",
    "train --from-sales",
]


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text(f"prediction,price,date\n{ID},310000,2025-06-03\n")
    (tmp_path / "houses.csv").write_text("size,bedrooms,age\n2500,3,10\n")


@pytest.mark.parametrize("command", [*NEEDS_STORAGE, "migrate"])
def test_command_reports_unreachable_postgresql(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name, value in {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_PASSWORD": "x"}.items():
        monkeypatch.setenv(name, value)
    ended = run(*command.split())
    assert ended.code == 5, ended
    assert "127.0.0.1:1" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", ["predictions", "drift"])
def test_partial_predictions_from_spool_are_reported(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name, value in {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_PASSWORD": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOUSEPREDICT_MODELS", "folder")
    if command == "drift":
        assert run("train", "--synthetic").code == 0
    assert run("predict", "--demo", "size=2500", "bedrooms=3", "age=10").code == 0
    ended = run(command)
    assert (ended.code, ended.out) == (5, "")
    assert "127.0.0.1:1" in ended.err


@pytest.mark.parametrize(
    "command", [each for each in NEEDS_STORAGE if not each.startswith(("models show", "models p"))]
)
def test_command_reports_data_directory_that_is_a_file(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    ended = run(*command.split(), "--data-dir", str(tmp_path / "file"))
    assert ended.code == 5, ended
    assert ended.out == ""
    assert not (tmp_path / "prices.csv").exists()


def without_home(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in environment().items() if name not in ("HOME", "XDG_DATA_HOME")}
    # a user without a passwd entry: the home directory is looked up by uid
    script = f"""
import pwd, sys
def unknown(uid):
    raise KeyError(uid)
pwd.getpwuid = unknown
sys.argv = ["housepredict", *{list(arguments)!r}]
from housepredict.__main__ import main
sys.exit(main())
"""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=clean | variables, timeout=600
    )


def test_user_without_home_gets_required_setting(tmp_path: Path) -> None:
    for ended in (without_home("models"), without_home("config"), without_home("models", "--data-dir", "~/data")):
        assert ended.returncode == 2
        assert ended.stderr == (
            "housepredict: HOUSEPREDICT_DATA_DIR must be set to an absolute path: this user has no home folder\n"
        )
    configured = without_home("models", HOUSEPREDICT_DATA_DIR=str(tmp_path))
    assert (configured.returncode, configured.stderr) == (0, "")


def test_missing_working_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = """
import os, sys
os.rmdir(os.getcwd())
sys.argv = ["housepredict", "models", "--data-dir", "data"]
from housepredict.__main__ import main
sys.exit(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment(),
        cwd=tmp_path / "gone",
    )  # fmt: skip
    assert ended.returncode == 2
    assert "the working folder no longer exists" in ended.stderr
    assert os.sep not in ended.stderr
