"""The service on other ASGI servers, started as documented."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import pytest

from tests.integration.services import LAB_HOUSE, LAB_PRICE, environment

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-on-another-server.md"

# the output that shows readiness, and the options for a socket and a prefix
SERVERS = {
    "uvicorn": ("Uvicorn running", "--uds {} --root-path /api"),
    "hypercorn": ("Running on", "--bind unix:{} --root-path /api"),
    "granian": ("Started worker", "--uds {} --url-path-prefix /api"),
}
STOPPED = (0, -signal.SIGTERM)  # some servers raise the signal again when they are done


@contextmanager
def started(name: str, folder: Path) -> Iterator[httpx2.Client]:
    greeting, options = SERVERS[name]
    documented = re.search(rf"^({name} .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert documented
    with (
        TemporaryDirectory() as short,  # a socket path may have only about a hundred characters
        subprocess.Popen(
            [sys.executable, "-m", *shlex.split(documented[1]), *options.format(f"{short}/socket").split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(HOUSEPREDICT_DEMO="1", HOUSEPREDICT_DATA_DIR=str(folder)),
        ) as process,
    ):
        assert process.stdout
        log = ""
        try:
            while greeting not in log:
                line = process.stdout.readline()
                assert line, f"it ended instead of serving:\n{log}"
                log += line
            with httpx2.Client(
                transport=httpx2.HTTPTransport(uds=f"{short}/socket"), base_url="http://localhost", timeout=30
            ) as client:
                yield client
        finally:
            process.terminate()
            log += process.stdout.read()
            assert process.wait(30) in STOPPED, log
        assert "Traceback" not in log, log


@pytest.mark.parametrize("name", SERVERS)
def test_asgi_server_serves_and_stops(name: str, tmp_path: Path) -> None:
    with started(name, tmp_path) as client:
        prefix = "/api" if name == "granian" else ""  # granian strips the prefix itself
        answer = client.post(f"{prefix}/predict", json=[LAB_HOUSE] * 2)
        assert answer.status_code == 200, answer.text
        assert [each["prediction"] for each in answer.json()["predictions"]] == [LAB_PRICE] * 2
        assert "</api/predictions?" in client.get(f"{prefix}/predictions?limit=1").headers["Link"]
        assert client.post(f"{prefix}/train").status_code == 403
