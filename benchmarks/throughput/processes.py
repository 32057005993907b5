"""Servers as processes of their own: started, waited for, weighed, stopped; and the load on them, by wrk."""

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
PATIENCE = 60.0  # seconds
HOW_TO_GET_WRK = """the benchmarks load the service with wrk, which is not on the PATH. Get it with one of
  apt-get install wrk      (Debian, Ubuntu)
  dnf install wrk          (Fedora)
  brew install wrk         (macOS)
or from https://github.com/wg/wrk"""


@frozen
class Server:
    """A server that answers. `seconds_to_ready`: from its start to its first 200 on /health/ready."""

    process: subprocess.Popen[bytes]
    port: int
    seconds_to_ready: float

    @property
    def members(self) -> list[int]:
        """The ids of the process and of all that descend from it."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has ended meanwhile
        members = [self.process.pid]
        for member in members:
            members += [child for child, parent in parents.items() if parent == member]
        return members

    @property
    def pss_mb(self) -> float:
        """The memory of all its processes in MB (10⁶ bytes), what they share counted once."""
        return sum(_pss_kib(member) for member in self.members) * 1024 / 1e6


def _pss_kib(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], port: int) -> Iterator[Server]:
    """Start a server, wait until it is ready; stop it in the end. Raises RuntimeError with what it said."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=_environment(environment), stdout=said, stderr=said)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() - started > PATIENCE:
                    said.seek(0)
                    raise RuntimeError(f"{' '.join(command)} did not come up:\n{said.read().decode()[-2000:]}")
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
    """This process's, without what would configure a service or its database."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DB_", "HOUSEPREDICT_", "PG"))}
    return kept | dict(more)


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
    """Where wrk is. Raises SystemExit with how to get it."""
    found = shutil.which("wrk")
    if not found:
        raise SystemExit(HOW_TO_GET_WRK)
    return found


def begin_load(
    port: int, bodies: Path, connections: int, seconds: int, pause_ms: float | None = None
) -> subprocess.Popen[str]:
    """Start to post the bodies (a file, one a line) in turn. One thread: the other cores are the servers'.

    With a pause, on average so long before each request of a connection, it does so at a rate that hardly depends on
    how fast the answers are.
    """
    command = [
        wrk(), "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        # a slow answer is slow, not failed
        "--timeout", "60s", "--script", str(SCRIPT), f"http://127.0.0.1:{port}/predict", "--", str(bodies),
        *(() if pause_ms is None else (str(pause_ms),)),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end_load(load: subprocess.Popen[str]) -> Run:
    output, _ = load.communicate()
    return read_run(output)
