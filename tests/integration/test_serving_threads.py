"""A serving process starts few threads, because estimates are small. A training job in it uses all cores."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.integration.services import LAB_HOUSE, finished, post, running, send

CORES = len(os.sched_getaffinity(0))

PROBE = """
import json, sys
from functools import cached_property
from housepredict.domain.errors import RepositoryUnavailable
from housepredict.entrypoints.composition import Application, Storage
from housepredict.entrypoints.cli.main import main

class Probe(Storage):
    @cached_property
    def predictions(self):
        import sklearn.ensemble, threadpoolctl
        pools = {each["user_api"]: each["num_threads"] for each in threadpoolctl.threadpool_info()}
        print(json.dumps({**pools, "switch": sys.getswitchinterval()}))
        raise RepositoryUnavailable

class ProbedApplication(Application):
    def __init__(self, settings):
        super().__init__(settings, Probe(settings))

sys.exit(main(["serve", "--port", "0", "--data-dir", sys.argv[1]], application=ProbedApplication))
"""


def threads(folder: Path, **variables: str) -> int:
    with running(folder, "--demo", **variables) as service:
        assert send(service, post(LAB_HOUSE)).status == 200
        process = Path(f"/proc/{service.process.pid}")
        loaded = process.joinpath("maps").read_text()
        assert "numpy" in loaded
        assert "sklearn" not in loaded
        (count,) = re.findall(r"^Threads:\s+(\d+)$", process.joinpath("status").read_text(), re.MULTILINE)
    return int(count)


def test_numpy_starts_no_threads_by_default(tmp_path: Path) -> None:
    alone = threads(tmp_path / "default")
    assert threads(tmp_path / "one", OPENBLAS_NUM_THREADS="1") == alone
    assert threads(tmp_path / "several", OPENBLAS_NUM_THREADS="2") == alone + (CORES > 1)


def test_training_has_one_thread_per_core(tmp_path: Path) -> None:
    pools = json.loads(finished("-c", PROBE, str(tmp_path)).stdout)
    assert (pools["blas"], pools["openmp"]) == (1, CORES)
    assert pools["switch"] == pytest.approx(0.0005)
