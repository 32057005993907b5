"""Training jobs beside a running service: results, crashes, cancellation and conflicts."""

from __future__ import annotations

import csv
import gzip
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from textwrap import indent
from typing import Any
from uuid import UUID

import httpx2
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import frozen

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.folder.training_log import DirectoryTrainings
from housepredict.adapters.postgres.predictions import PostgresPredictions
from housepredict.domain.errors import TrainingBroken, UnusableSales
from housepredict.domain.training_options import Algorithm, TrainingOptions
from housepredict.domain.training_status import TrainingStatus
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.training_processes import TrainingRequest, _end_group
from tests.integration.load import url
from tests.integration.services import Service, environment, finished, running
from tests.integration.test_shared_service import eventually

CSV = {"Content-Type": "text/csv"}
ASYNC = {"Prefer": "respond-async"}
QUICK = "algorithm=linear&promote=always"
SLOW = "algorithm=boosting&effort=high"
"""Options for a training job that runs long enough to be observed."""


INTERRUPTIBLE = """
import signal, sys
from housepredict.entrypoints.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""
"""Runs `housepredict` with SIGINT enabled, even if the test process ignores it and children inherit that."""


def columns(rows: int) -> dict[str, list[Any]]:
    draw = Random(1)
    sqft = [draw.randrange(500, 4000) for _ in range(rows)]
    age = [draw.randrange(100) for _ in range(rows)]
    price = [200 * size - 500 * years + draw.randrange(40_000) for size, years in zip(sqft, age, strict=True)]
    return {"price": price, "sqft": sqft, "age": age}


def csv_file(path: Path, rows: int = 400) -> Path:
    sales = columns(rows)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(sales)
        writer.writerows(zip(*sales.values(), strict=True))
    return path


@frozen
class Trainer:
    """A training job beside a service, and its process."""

    service: Service
    path: str
    pid: int

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = httpx2.get(self.service.url + self.path).json()
        return document

    def over(self) -> dict[str, Any]:
        return eventually(lambda: current if (current := self.status())["state"] != "running" else None)

    def has_ended_all_processes(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        return False


def send(service: Service, content: bytes, query: str = QUICK, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{service.url}/train?{query}", content=content, headers=CSV | headers, timeout=600)


def trainer_of(pid: int) -> int:
    """Return the training process below this process or one of its workers, or 0 if there is none."""
    children = [int(each) for task in Path(f"/proc/{pid}/task").glob("*/children") for each in task.read_text().split()]
    for child in children:
        if b"training_process" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return next((found for child in children if (found := trainer_of(child))), 0)


def start_slow_training(service: Service, folder: Path) -> Trainer:
    """Start a slow training job and wait until it has completed its first step."""
    answer = send(service, csv_file(folder / "slow.csv", 5000).read_bytes(), SLOW, **ASYNC)
    assert answer.status_code == 202, answer.text
    trainer = Trainer(service, answer.headers["Location"], trainer_of(service.process.pid))
    eventually(lambda: trainer.status()["progress"]["done"])
    assert trainer.status()["state"] == "running"
    return trainer


def uploads(folder: Path) -> list[str]:
    return [each.name for each in (folder / "data" / "uploads").iterdir()]


def versions(folder: Path) -> list[str]:
    return [each.name for each in DirectoryModels(folder / "data" / "models").versions()]


def in_service(service: Service) -> str:
    current: str = httpx2.get(f"{service.url}/health").json()["model_version"]
    return current


@contextmanager
def trained(folder: Path, **variables: str) -> Iterator[tuple[Service, str]]:
    """Yield a service with a trained model, and the version's name."""
    with running(folder, **variables) as service:
        answer = send(service, csv_file(folder / "sales.csv").read_bytes())
        assert answer.status_code == 200, answer.text
        yield service, answer.json()["model_version"]


def test_uploaded_sales_are_stored_and_reused(tmp_path: Path) -> None:
    with trained(tmp_path) as (service, first):
        assert in_service(service) == first
        (upload,) = uploads(tmp_path)
        assert upload.endswith(".csv")
        assert (tmp_path / "data" / "uploads" / upload).stat().st_mode & 0o777 == 0o600
        again = httpx2.post(f"{service.url}/train", timeout=600).json()
        assert again["promoted"] is False
        assert "Identical" in again["reasons"][0]
        listed = httpx2.get(f"{service.url}/trainings").json()["trainings"]
        assert [(each["state"], each["model_version"]) for each in listed] == [
            ("succeeded", again["model_version"]),
            ("succeeded", first),
        ]
        assert {Path(each["source"]).name for each in listed} == {upload}
    status = finished("-m", "housepredict", "trainings", "--data-dir", str(tmp_path / "data"))
    assert f"{first}, promoted" in status.stdout


def test_promoted_version_serves_immediately(tmp_path: Path) -> None:
    with trained(tmp_path) as (service, first):
        answer = send(service, csv_file(tmp_path / "more.csv", 500).read_bytes(), **ASYNC)
        where = service.url + answer.headers["Location"]
        status = eventually(lambda: current if (current := httpx2.get(where).json())["state"] != "running" else None)
        assert status["promoted"] is True
        assert in_service(service) == status["model_version"] != first


def _parquet(path: Path) -> bytes:
    pq.write_table(pa.table(columns(400)), path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (_parquet, {"Content-Type": "application/vnd.apache.parquet"}),
        (lambda path: gzip.compress(csv_file(path).read_bytes()), {"Content-Type": "application/gzip"}),
        (lambda path: gzip.compress(csv_file(path).read_bytes()), {"Content-Encoding": "gzip"}),
    ],
    ids=["parquet", "gzip", "coding"],
)
def test_upload_accepts_every_readable_format(
    tmp_path: Path, content: Callable[[Path], bytes], headers: dict[str, str]
) -> None:
    with running(tmp_path) as service:
        answer = send(service, content(tmp_path / "sales"), f"{QUICK}&price=price", **headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["promoted"] is True
        assert answer.json()["evaluation"]["trained_on"] > 300
        assert in_service(service) == answer.json()["model_version"]


def test_unusable_upload_is_deleted(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        answer = send(service, b"colour,size\nred,1\n")
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:housepredict:problem:unusable-sales")
        eventually(lambda: not uploads(tmp_path))
        status = httpx2.get(f"{service.url}/trainings").json()["trainings"]
        assert [each["state"] for each in status] == ["failed"]
        assert status[0]["error"] == answer.json()["detail"]


def test_upload_limit_replaces_body_limit(tmp_path: Path) -> None:
    limits = {"HOUSEPREDICT_MAX_BODY": "200000", "HOUSEPREDICT_MAX_UPLOAD": "1500000"}
    sales = csv_file(tmp_path / "sales.csv").read_bytes()
    content = sales + b"\n" * (1_500_000 - len(sales))

    def chunks() -> Iterator[bytes]:
        yield content
        yield b"\n"

    with running(tmp_path, **limits) as service:
        assert send(service, content).status_code == 200
        answer = httpx2.post(f"{service.url}/train", content=chunks(), headers=CSV)
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:housepredict:problem:body-too-large")
        assert "HOUSEPREDICT_MAX_UPLOAD" in answer.json()["detail"]
        assert len(uploads(tmp_path)) == 1


def test_killed_training_process_leaves_only_failed_status(tmp_path: Path) -> None:
    with trained(tmp_path) as (service, first):
        trainer = start_slow_training(service, tmp_path)
        # read the log directly, because a request to the service would detect the death itself
        log, id_ = DirectoryTrainings(tmp_path / "data" / "models" / "trainings"), UUID(trainer.path[-36:])
        os.kill(trainer.pid, signal.SIGKILL)
        eventually(lambda: log.get(id_).outcome)
        status = trainer.over()
        assert (status["state"], status["model_version"]) == ("failed", None)
        assert status["error"] == "The training process was killed by SIGKILL."
        eventually(trainer.has_ended_all_processes)
        assert in_service(service) == first
        assert versions(tmp_path) == [first]
        eventually(lambda: len(uploads(tmp_path)) == 1)
        assert httpx2.post(f"{service.url}/train", timeout=600).status_code == 200


def test_cancellation_ends_unresponsive_training(tmp_path: Path) -> None:
    with trained(tmp_path) as (service, first):
        trainer = start_slow_training(service, tmp_path)
        os.kill(trainer.pid, signal.SIGSTOP)  # a stopped process doesn't react by itself
        cancelled = httpx2.delete(service.url + trainer.path)
        assert (cancelled.status_code, cancelled.json()["cancelling"]) == (202, True)
        assert trainer.over()["state"] == "cancelled"
        eventually(trainer.has_ended_all_processes)
        assert (in_service(service), versions(tmp_path)) == (first, [first])
        eventually(lambda: len(uploads(tmp_path)) == 1)
        again = httpx2.delete(service.url + trainer.path)
        assert (again.status_code, again.json()["type"]) == (409, "urn:housepredict:problem:training-ended")


def test_training_outlives_service_and_can_be_cancelled(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        trainer = start_slow_training(service, tmp_path)
        id_ = trainer.path.rpartition("/")[2]
        service.stop(signal.SIGKILL)
    command = ["-m", "housepredict", "trainings"]
    where = ["--data-dir", str(tmp_path / "data")]

    def status() -> str:
        return next(line for line in finished(*command, *where).stdout.splitlines() if id_ in line)

    assert "running" in status()
    with running(tmp_path) as another:
        answer = send(another, b"")
        assert (answer.status_code, answer.json()["training"]) == (409, trainer.path)
        assert answer.headers["Location"] == trainer.path
        assert finished(*command, "cancel", id_, *where).returncode == 0
        eventually(lambda: "cancelled" in status())
    eventually(trainer.has_ended_all_processes)


def test_init_process_adopts_orphaned_training(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2", module="tests.integration.first_process") as service:
        trainer = start_slow_training(service, tmp_path)
        stat = Path(f"/proc/{trainer.pid}/stat")
        worker = int(stat.read_text().rpartition(")")[2].split()[1])
        assert worker in service.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: int(stat.read_text().rpartition(")")[2].split()[1]) == service.process.pid)
        eventually(lambda: len({*service.workers()} - {worker, trainer.pid}) == 2)
        assert httpx2.delete(service.url + trainer.path).status_code == 202
        assert trainer.over()["state"] == "cancelled"
        eventually(trainer.has_ended_all_processes)
        assert send(service, csv_file(tmp_path / "sales.csv").read_bytes()).status_code == 200


def test_concurrent_requests_start_one_training(tmp_path: Path, postgres: str) -> None:
    where = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    with running(tmp_path / "one", **where) as one, running(tmp_path / "two", **where) as two:
        content = csv_file(tmp_path / "slow.csv", 5000).read_bytes()
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(lambda service: send(service, content, SLOW, **ASYNC), [one, two])
        assert {first.status_code, second.status_code} == {202, 409}
        begun, refused = (first, second) if first.status_code == 202 else (second, first)
        assert refused.json()["training"] == refused.headers["Location"] == begun.headers["Location"]
        for service in one, two:
            status = httpx2.get(service.url + begun.headers["Location"]).json()
            assert (status["id"], status["state"]) == (begun.json()["id"], "running")
        idle = two if begun is first else one
        assert httpx2.delete(idle.url + begun.headers["Location"]).status_code == 202
        for service in one, two:
            assert Trainer(service, begun.headers["Location"], 0).over()["state"] == "cancelled"
        assert send(idle, csv_file(tmp_path / "sales.csv").read_bytes()).status_code == 200


def test_command_line_training_is_logged_and_interruptible(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        sales = str(csv_file(tmp_path / "slow.csv", 5000))
        options = ["--algorithm", "boosting", "--effort", "high", "--data-dir", str(tmp_path / "data")]
        with subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, "train", sales, *options], env=environment()
        ) as process:
            (status,) = eventually(lambda: httpx2.get(f"{service.url}/trainings").json()["trainings"])
            trainer = Trainer(service, f"/trainings/{status['id']}", process.pid)
            assert status["source"] == sales
            eventually(lambda: trainer.status()["progress"]["done"])
            assert send(service, b"").headers["Location"] == trainer.path
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        assert trainer.over()["state"] == "cancelled"
        assert send(service, csv_file(tmp_path / "sales.csv").read_bytes()).status_code == 200


def test_killed_training_process_leaves_no_helpers() -> None:
    script = """
import os, time
from joblib import Parallel, delayed
def work(number):
    os.write(1, b"%d\\n" % number)
    time.sleep(600)
Parallel(n_jobs=2)(delayed(work)(number) for number in range(2))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        begun = {process.stdout.readline() for _ in range(2)}
        process.kill()
        process.wait()
        assert begun == {b"0\n", b"1\n"}
        os.killpg(process.pid, 0)  # its helpers are alive
        _end_group(process)
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def test_training_process_uses_half_of_the_cores() -> None:
    script = """
import os
from housepredict.entrypoints.training_process import _leave_cores_to_service
_leave_cores_to_service()
import joblib
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from threadpoolctl import threadpool_info
import numpy
print(os.nice(0), joblib.cpu_count(), joblib.effective_n_jobs(-1), _openmp_effective_n_threads())
print({each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"})
"""
    half = max(len(os.sched_getaffinity(0)) // 2, 1)
    threads = {"OMP_NUM_THREADS": "64", "OPENBLAS_NUM_THREADS": "64"}
    assert finished("-c", script, **threads).stdout.splitlines() == [f"10 {half} {half} {half}", "{1}"]


class UnreadableLog:
    """A log that fails to parse in an unexpected way, as with a bug or a newer release."""

    def is_cancelling(self, _training: UUID) -> bool:
        raise NotImplementedError("cannot parse 31.12.2026")

    def over(self, _training: UUID, _error: str) -> TrainingStatus:
        raise NotImplementedError("cannot parse 31.12.2026")


def test_unreadable_log_ends_training_with_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Application(Settings(tmp_path)) as application:
        application.trainings = UnreadableLog()  # type: ignore[assignment]
        request = TrainingRequest(
            None, str(csv_file(tmp_path / "sales.csv")), TrainingOptions(algorithm=Algorithm.LINEAR)
        )
        job = application.training_jobs.start(request)
        assert isinstance(job.ended.exception(120), TrainingBroken)
    assert f"watching training {job.id} failed unexpectedly" in caplog.text


def test_training_starts_while_more_than_1024_files_are_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as resources:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
        resources.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            resources.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        application = resources.enter_context(Application(Settings(tmp_path)))
        options = TrainingOptions(algorithm=Algorithm.LINEAR)
        job = application.training_jobs.start(
            TrainingRequest(location=str(csv_file(tmp_path / "sales.csv")), options=options)
        )
        assert job.ended.exception(120) is None


@pytest.fixture
def replace_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes training processes run other code."""

    def replace(code: str) -> None:
        folder = tmp_path / "code"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(
            "import os, sys, time\nfrom pathlib import Path\n"
            f"if 'housepredict.entrypoints.training_process' in sys.orig_argv:\n{indent(code, '    ')}"
        )
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return replace


def assert_group_ended(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


def test_closing_application_ends_starting_training_process(
    tmp_path: Path, replace_trainer: Callable[[str], None]
) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    replace_trainer(f"Path({str(started)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\n")
    with ThreadPoolExecutor(1) as pool, Application(Settings(tmp_path / "data")) as application:
        start = pool.submit(application.training_jobs.start, TrainingRequest())
        pid = int(started.read_text())
        application.close()
        error = start.exception(60)
    assert isinstance(error, TrainingBroken)
    assert "The service stopped" in str(error)
    assert_group_ended(pid)


def test_training_process_that_reports_error_is_ended(tmp_path: Path, replace_trainer: Callable[[str], None]) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    replace_trainer(
        f"Path({str(started)!r}).write_text(str(os.getpid()))\n"
        """print('{"error": "UnusableSales", "message": "too few"}', flush=True)\n"""
        f"time.sleep(60)\nPath({str(ended)!r}).touch()\n"
    )
    with Application(Settings(tmp_path / "data")) as application, pytest.raises(UnusableSales, match="too few"):
        application.training_jobs.start(TrainingRequest())
    assert_group_ended(int(started.read_text()))
    assert not ended.exists()


def test_training_process_with_invalid_report_is_ended(tmp_path: Path, replace_trainer: Callable[[str], None]) -> None:
    started = tmp_path / "started"
    replace_trainer(
        f"Path({str(started)!r}).write_text(str(os.getpid()))\n"
        """print('{"begun": "first"}', flush=True)\ntime.sleep(600)\n"""
    )
    with Application(Settings(tmp_path / "data")) as application, pytest.raises(ValueError, match="UUID"):
        application.training_jobs.start(TrainingRequest())
    assert_group_ended(int(started.read_text()))


def test_service_survives_unreadable_training_log(tmp_path: Path, postgres: str) -> None:
    damage = """
    CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.state := 'paused'; RETURN NEW; END $$;
    ALTER TABLE trainings DROP CONSTRAINT trainings_state_check;
    CREATE TRIGGER damage BEFORE INSERT OR UPDATE ON trainings FOR EACH ROW EXECUTE FUNCTION damage();
    """
    variables = {"HOUSEPREDICT_DATABASE_URL": url(postgres)}
    PostgresPredictions.open(postgres).close()
    with psycopg.connect(postgres) as connection:
        connection.execute(damage)
    content = csv_file(tmp_path / "sales.csv").read_bytes()
    for _ in range(2):
        with running(tmp_path, "--demo", **variables) as service:
            answer = send(service, content)
            assert (answer.status_code, answer.json()["title"]) == (404, "Training not found"), answer.text
            assert "'paused' is unknown to this release" in answer.json()["detail"]
            assert httpx2.get(f"{service.url}/trainings").json() == {"trainings": []}
            assert service.stop() == 0
