"""Interrupts sent at chosen moments: the process reports one line and leaves nothing incomplete."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from joblib import delayed

from housepredict.adapters.system import defer_interrupts
from housepredict.adapters.training.search import results_of
from tests.integration.load import eventually
from tests.integration.services import environment

AT = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests in the background have ignored
event, text, number, times = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
del sys.argv[1:5]

def hook(name, arguments):
    global times
    if name == event and times and text in str(arguments):
        times -= 1
        if not times:
            os.killpg(0, number)

sys.addaudithook(hook)
from housepredict.__main__ import main
sys.exit(main())
"""
"""Runs `housepredict` and signals its process group at an audit event whose arguments contain `text`."""


class Ended(NamedTuple):
    """The state left by a process that received a signal."""

    code: int
    err: str
    data: Path

    @property
    def outcomes(self) -> list[Any]:
        """The outcomes of the training jobs in the log."""
        files = sorted((self.data / "models" / "trainings").glob("[!.]*.json"))
        return [json.loads(file.read_text())["outcome"] for file in files]

    @property
    def versions(self) -> list[str]:
        """The names of the stored versions."""
        return sorted(each.name for each in (self.data / "models" / "versions").glob("*"))

    def assert_no_leftovers(self) -> None:
        assert [str(each) for each in self.data.parent.rglob(".tmp-*")] == []
        assert [str(each) for each in self.data.parent.glob(".prices*")] == []


def interrupted(
    folder: Path,
    event: str,
    text: str,
    *command: str,
    number: int = signal.SIGINT,
    times: int = 1,
    script: str = AT,
    **variables: str,
) -> Ended:
    data = folder / "data"
    arguments = [event, text, str(int(number)), str(times), *command, "--data-dir", str(data)]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=folder,
        env=environment(**variables),
    ) as process:  # fmt: skip
        _, err = process.communicate(timeout=600)
    eventually(lambda: not living(process.pid))
    return Ended(process.returncode, err, data)


def living(group: int) -> list[int]:
    """Return the processes of a group that are still alive. A killed process takes a moment to die."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            _, _, rest = (folder / "stat").read_text().rpartition(") ")
        except OSError:
            continue
        state, _, group_id = rest.split()[:3]
        if int(group_id) == group and state not in "ZX":
            pids.append(int(folder.name))
    return pids


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("event", "text"),
    [
        ("import", "housepredict.entrypoints.cli.main"),
        ("import", "argparse"),
        ("import", "numpy"),
        ("import", "sklearn.pipeline"),
        ("open", "sales.csv"),
        ("os.mkdir", "trainings"),
    ],
)
def test_training_interrupted_before_storing_leaves_nothing(
    tmp_path: Path,
    sales: str,
    event: str,
    text: str,
    number: int,
) -> None:
    ended = interrupted(tmp_path, event, text, "train", str(tmp_path / sales), "--algorithm", "linear", number=number)
    assert ended.code == 128 + number, ended.err
    assert ended.err in ("housepredict: interrupted\n", "housepredict: interrupted; no model version was stored\n")
    assert ended.versions == []
    assert all(each["version"] is None and "cancelled" in each["error"] for each in ended.outcomes)
    ended.assert_no_leftovers()


@pytest.mark.parametrize(("event", "text"), [("tempfile.mkdtemp", "models"), ("os.rename", "versions")])
def test_training_interrupted_while_storing_finishes(
    tmp_path: Path,
    sales: str,
    event: str,
    text: str,
) -> None:
    ended = interrupted(tmp_path, event, text, "train", str(tmp_path / sales), "--algorithm", "linear")
    (version,) = ended.versions
    assert (ended.code, ended.err) == (130, f"housepredict: interrupted; model version {version} was stored\n")
    assert [(each["version"], each["promoted"]) for each in ended.outcomes] == [(version, True)]
    assert version in (ended.data / "models" / "promoted").read_text()
    ended.assert_no_leftovers()


@pytest.mark.parametrize(
    ("event", "text", "times"),
    [("import", "popen_loky", 1), ("os.rename", "trainings", 2)],
    ids=["before they start", "while they fit"],
)
def test_interrupted_search_ends_processes_silently(
    tmp_path: Path, sales: str, event: str, text: str, times: int
) -> None:
    ended = interrupted(tmp_path, event, text, "train", str(tmp_path / sales), "--effort", "low", times=times)
    assert_training_was_cancelled(ended)


def test_search_interrupted_during_imports_ends_processes_silently(tmp_path: Path, sales: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(SEARCH_PROCESS_HOOK)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    ended = interrupted(tmp_path, "", "", "train", str(tmp_path / sales), "--effort", "low", PYTHONPATH=path)
    assert_training_was_cancelled(ended)


def assert_training_was_cancelled(ended: Ended) -> None:
    assert (ended.code, ended.err) == (130, "housepredict: interrupted; no model version was stored\n")
    assert ended.versions == []
    assert ["cancelled" in each["error"] for each in ended.outcomes] == [True]
    ended.assert_no_leftovers()


FAILING_DIFFERENTLY = AT.replace(
    "from housepredict.__main__",
    """
from housepredict.adapters.training.trainer import SklearnTrainer

def fit(*_):
    try:
        signal.raise_signal(number)
    finally:
        raise UnboundLocalError

SklearnTrainer.fit = fit
from housepredict.__main__""",
)


def test_training_failing_due_to_interrupt_is_cancelled(tmp_path: Path, sales: str) -> None:
    ended = interrupted(tmp_path, "", "", "train", str(tmp_path / sales), script=FAILING_DIFFERENTLY)
    assert_training_was_cancelled(ended)


SEARCH_PROCESS_HOOK = """
import os, signal, sys

def hook(name, arguments):
    if name == "import" and arguments[0] == "numpy":
        os.killpg(0, signal.SIGINT)

if "popen_loky" in str(sys.orig_argv):
    sys.addaudithook(hook)
"""


def _blocked() -> set[int]:
    return {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])}


def test_search_processes_block_terminal_interrupts() -> None:
    with results_of((delayed(_blocked)() for _ in range(4)), 2) as results:
        assert all(signal.SIGINT in each for each in results)
    assert signal.SIGINT not in _blocked()


def test_price_file_is_complete_or_absent(tmp_path: Path) -> None:
    houses = tmp_path / "houses.csv"
    houses.write_text("size,bedrooms,age\n" + "2500,3,10\n" * 3000)
    ended = interrupted(
        tmp_path, "open", "predictions.sqlite", "predict", "--demo", str(houses), "-o", str(tmp_path / "prices.csv")
    )
    assert (ended.code, ended.err) == (130, "housepredict: interrupted\n")
    assert not (tmp_path / "prices.csv").exists()
    ended.assert_no_leftovers()


@pytest.mark.parametrize(("number", "text"), [(signal.SIGINT, "uvicorn"), (signal.SIGTERM, "starlette")])
def test_service_interrupted_during_startup_logs_one_line(tmp_path: Path, number: int, text: str) -> None:
    ended = interrupted(tmp_path, "import", text, "serve", "--demo", "--port", "0", number=number)
    assert (ended.code, ended.err) == (128 + number, "housepredict: interrupted\n")


SWALLOWING = """
import os, signal, sys
import housepredict.entrypoints.cli.main as cli

signal.signal(signal.SIGINT, signal.default_int_handler)

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

def swallow():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass

def run():
    try:
        WAY
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return 1

cli.main = run
from housepredict.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("way", ["Dropping()", "swallow()"])
def test_swallowed_interrupt_is_raised_again(way: str) -> None:
    script = SWALLOWING.replace("WAY", way)
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600, env=environment(), check=False
    )
    assert (ended.returncode, ended.stderr) == (130, "")


def test_interrupts_are_deferred_until_context_exits() -> None:
    steps = []

    def note(number: int, _frame: object) -> None:
        steps.append(number)

    before: Mapping[int, Any] = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with defer_interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            assert steps == []
        assert steps == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) is note
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
