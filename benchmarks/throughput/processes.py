"""Run servers as processes, measure their memory, and put them under load with wrk."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.throughput.runs import Run, read_run

SCRIPT = Path(__file__).with_name("post.lua")
TIMEOUT_S = 60.0
HOW_TO_GET_WRK = """the benchmarks need wrk, which is not on the PATH. Install it with one of
  apt-get install wrk      (Debian, Ubuntu)
  dnf install wrk          (Fedora)
  brew install wrk         (macOS)
or from https://github.com/wg/wrk"""


@frozen
class Server:
    """A running server. `seconds_to_ready` is the time from its start to the first 200 on /health/ready."""

    process: subprocess.Popen[bytes]
    port: int
    seconds_to_ready: float

    @property
    def members(self) -> list[int]:
        """The ids of the process and its descendants."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # the process has ended
        members = [self.process.pid]
        for member in members:
            members += [child for child, parent in parents.items() if parent == member]
        return members

    @property
    def pss_mb(self) -> float:
        """The memory of all processes in MB (10⁶ bytes). Shared memory is counted once."""
        return sum(_pss_kib(member) for member in self.members) * 1024 / 1e6


def _pss_kib(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[Server]:
    """Start a server, wait until it is ready, and stop it at the end. Raises RuntimeError with its output."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=_environment(environment), stdout=output, stderr=output)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() - started > TIMEOUT_S:
                    output.seek(0)
                    raise RuntimeError(f"{' '.join(command)} did not start:\n{output.read().decode()[-2000:]}")
                time.sleep(0.005)
            yield Server(process, port, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without variables that configure a service or its database, plus others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("DB_", "HOUSEPREDICT_", "PG"))}
    return others | dict(more)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wrk() -> str:
    """Return the path of wrk. Raises SystemExit with instructions if it is missing."""
    path = shutil.which("wrk")
    if not path:
        raise SystemExit(HOW_TO_GET_WRK)
    return path


def begin_load(
    port: int, bodies: Path, connections: int, seconds: int, pause_ms: float | None = None
) -> subprocess.Popen[str]:
    """Start to post the bodies, the lines of a file, in turn. It takes one thread; the servers get the other cores.

    `pause_ms` is the average pause before each request of a connection. With it, the rate hardly depends on the speed
    of the server.
    """
    command = [
        wrk(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        # a slow response doesn't count as a failure
        "--timeout", "60s", "--script", str(SCRIPT), f"http://127.0.0.1:{port}/predict", "--", str(bodies),
        *(() if pause_ms is None else (str(pause_ms),)),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_load(load: subprocess.Popen[str]) -> Run:
    output, _ = load.communicate()
    return read_run(output)
