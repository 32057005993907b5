"""Wheels of commits, as built by the campaign and by releases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from campaign import releases
from campaign.trials import Unavailable

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (releases.ROOT / ".git").exists(), reason="wheels of commits need the repository"),
]


def build(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "campaign.releases", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=releases.ROOT, env={**os.environ, **variables}
    )


def test_wheel_is_reproducible(tmp_path: Path) -> None:
    first = build("HEAD", "--into", str(tmp_path / "first"), TZ="UTC")
    assert first.returncode == 0, first.stderr
    digest, path = first.stdout.split()
    os.utime(path, (0, 0))
    second = build("HEAD", "--sha256", digest, "--into", str(tmp_path / "an other" / "folder"), TZ="Asia/Tokyo")
    assert second.returncode == 0, second.stderr
    assert releases.sha256(Path(path)) == digest == second.stdout.split()[0]


def test_wheel_with_another_digest_is_rejected_and_deleted(tmp_path: Path) -> None:
    process = build("HEAD", "--sha256", "0" * 64, "--into", str(tmp_path))
    assert process.returncode == 1
    assert f"not {'0' * 64}" in process.stderr
    assert not list(tmp_path.iterdir())


def test_installed_release_takes_precedence_over_checkout(tmp_path: Path) -> None:
    release = releases.install("HEAD", "a release", tmp_path)
    assert release.run("--version").startswith("housepredict ")
    assert release.variables["PYTHONPATH"] == str(tmp_path / "site")
    assert not (tmp_path / "site" / "campaign").exists()
    assert releases.install("HEAD", "a release", tmp_path) == release


def test_commit_missing_from_clone_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"not here.*--unshallow"):
        releases.install("0" * 40, "a release")
    process = build("0" * 40)
    assert (process.returncode, process.stderr[:7]) == (1, "error: ")


def test_release_records_have_full_commits() -> None:
    records = json.loads((releases.ROOT / "campaign" / "releases.json").read_text(encoding="utf-8"))
    assert [len(each["commit"]) for each in records] == [40] * len(records)
    assert [len(each["sha256"]) for each in records] == [64] * len(records)
    assert records[-1]["commit"] == releases.PREVIOUS
