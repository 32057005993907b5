"""Every command that needs storage says that it cannot be reached, and ends with 5."""

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
def test_postgresql_out_of_reach(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for name, value in {"DB_HOST": "127.0.0.1", "DB_PORT": "1", "DB_PASSWORD": "x"}.items():
        monkeypatch.setenv(name, value)
    ended = run(*command.split())
    assert ended.code == 5, ended
    assert "127.0.0.1:1" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("command", ["predictions", "drift"])
def test_predictions_of_the_spool_alone_are_not_all(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
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
def test_data_folder_that_is_a_file(run: Run, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("")
    ended = run(*command.split(), "--data-dir", str(tmp_path / "file"))
    assert ended.code == 5, ended
    assert ended.out == ""
    assert not (tmp_path / "prices.csv").exists()


def without_home(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in environment().items() if name not in ("HOME", "XDG_DATA_HOME")}
    # a user of whom the system knows nothing: its home folder is asked for by the number
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


def test_user_without_home_is_told_which_setting_is_needed(tmp_path: Path) -> None:
    for ended in (without_home("models"), without_home("config"), without_home("models", "--data-dir", "~/data")):
        assert ended.returncode == 2
        assert ended.stderr == (
            "housepredict: HOUSEPREDICT_DATA_DIR must be set to an absolute path: this user has no home directory\n"
        )
    given = without_home("models", HOUSEPREDICT_DATA_DIR=str(tmp_path))
    assert (given.returncode, given.stderr) == (0, "")


def test_working_folder_that_is_gone_is_told(tmp_path: Path) -> None:
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
    assert "the working directory no longer exists" in ended.stderr
    assert os.sep not in ended.stderr
