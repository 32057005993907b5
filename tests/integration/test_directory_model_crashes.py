"""The model directory when writers are killed, run out of disk space, or run concurrently."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.testing.drawing import sample_version

WRITER = """
import os, resource, signal, sys
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.testing.drawing import sample_version

def write(path):
    store = DirectoryModels(path)
    store.add(*sample_version("new", content=bytes(100_000)))
    store.promote("new")

def in_a_process(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, "-c", WRITER + script, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout


def assert_whole(store: DirectoryModels) -> bool:
    """Check that the new version is complete or absent, and return whether it exists."""
    names = [version.name for version in store.versions()]
    assert names in (["old"], ["new", "old"])
    assert [store.get(name)[0].name for name in names] == names
    assert store.pointer().name in ("old", names[0])
    return "new" in names


def test_killed_writer_leaves_whole_version_or_none(tmp_path: Path) -> None:
    """Kill one writer before each system call that Python audits. The last writer finishes."""
    killed = 9
    script = """
import shutil
def killed_before(step, path):
    left = step
    def audit(event, _):
        nonlocal left
        left -= event.startswith(("open", "os.", "shutil.", "tempfile."))
        if left < 0:
            os._exit(9)
    sys.addaudithook(audit)
    write(path)

for step in range(1000):
    path = f"{sys.argv[1]}/{step}"
    store = DirectoryModels(path)
    store.add(*sample_version("old"))
    store.promote("old")
    status = in_a_process(lambda: killed_before(step, path))
    print(status)
    if status != 9:
        break
"""
    statuses = [int(line) for line in run(script, tmp_path).split()]
    assert statuses == [killed] * (len(statuses) - 1) + [0]
    assert len(statuses) > 20
    stores = [DirectoryModels(tmp_path / str(step)) for step in range(len(statuses))]
    added = [assert_whole(store) for store in stores]
    promoted = [store.pointer().name == "new" for store in stores]
    # versions are added and promoted at one step each: no step before, every step after
    assert added == sorted(added)
    assert promoted == sorted(promoted)
    assert (added[0], added[-1], promoted[0], promoted[-1]) == (False, True, False, True)
    for store in stores:
        store.add(*sample_version("new", content=bytes(100_000)))
        store.promote("new")
        assert assert_whole(store)
        assert store.pointer().name == "new"


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "error reported"])
def test_writer_on_full_disk_leaves_no_version(tmp_path: Path, killed: bool) -> None:
    """Simulate a full disk by a file size limit: the kernel stops the writer in the middle of a file."""
    script = """
def full():
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if sys.argv[2] == "True" else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        write(sys.argv[1])
    except Exception as error:
        print(type(error).__name__, flush=True)

print(in_a_process(full))
"""
    store = DirectoryModels(tmp_path)
    store.add(*sample_version("old"))
    store.promote("old")
    output = run(script, tmp_path, killed).split()
    assert output == ["-25"] if killed else ["ModelStoreUnavailable", "0"]
    assert not assert_whole(store)
    assert len(list(store.path.glob(".*"))) == killed
    store.add(*sample_version("new"))
    assert assert_whole(store)


def test_concurrent_writers_store_whole_versions(tmp_path: Path) -> None:
    script = """
def add():
    store = DirectoryModels(sys.argv[1])
    for number in range(20):
        store.add(*sample_version(f"v{number:02}", content=bytes(10_000)))
        store.promote(f"v{number:02}")

children = []
for _ in range(4):
    child = os.fork()
    if not child:
        add()
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""
    store = DirectoryModels(tmp_path)
    done = threading.Event()

    def read_repeatedly() -> None:
        while not done.is_set():
            names = [version.name for version in store.versions()]
            for name in names[-2:]:
                store.get(name)
            store.pointer()

    reader = threading.Thread(target=read_repeatedly)
    reader.start()
    try:
        assert run(script, tmp_path).strip() == "[0, 0, 0, 0]"
    finally:
        done.set()
        reader.join()
    assert [store.get(f"v{number:02}")[1] for number in range(20)] == [{"model.bin": bytes(10_000)}] * 20
    assert len(store.versions()) == 20
    assert list(store.path.glob(".*")) == []
