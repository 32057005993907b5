"""The training log in a directory: contract, permissions and damaged files."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from pathlib import Path

import pytest

from housepredict.adapters.folder.training_log import MAX_TRAININGS, DirectoryTrainings
from housepredict.domain.errors import ModelStoreUnavailable, UnknownTraining
from housepredict.domain.ports import TrainingLog
from housepredict.domain.training_status import TrainingStatus
from housepredict.testing.training_contract import NewLog, TrainingLogContract, sample_training


class TestDirectoryTrainings(TrainingLogContract):
    @pytest.fixture
    def new_log(self, tmp_path: Path) -> NewLog:
        return lambda: DirectoryTrainings(Path(tempfile.mkdtemp(dir=tmp_path)) / "trainings")

    def reopen(self, log: TrainingLog) -> TrainingLog:
        assert isinstance(log, DirectoryTrainings)
        return DirectoryTrainings(log.path)


def test_log_is_private_to_owner(tmp_path: Path) -> None:
    log = DirectoryTrainings(tmp_path / "models" / "trainings")
    log.begin(sample_training())
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in log.path.iterdir()} == {0o600}


def test_oldest_records_are_dropped(tmp_path: Path) -> None:
    log, records = DirectoryTrainings(tmp_path), [sample_training() for _ in range(MAX_TRAININGS + 1)]
    for record in records:
        log.begin(record)
    assert len(log.recent(1000)) == MAX_TRAININGS
    with pytest.raises(UnknownTraining):
        log.get(records[0].id)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "x"}', b"\xff"])
def test_damaged_record_is_skipped_and_unknown(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    log, damaged, whole = DirectoryTrainings(tmp_path), sample_training(), sample_training()
    for each in damaged, whole:
        log.begin(each)
    (tmp_path / f"{damaged.id}.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert list(log.recent(10)) == [whole]
    assert "is damaged" in caplog.text
    with pytest.raises(UnknownTraining, match="is damaged"):
        log.change(damaged.id, TrainingStatus.request_cancellation)


def test_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    log, record = DirectoryTrainings(tmp_path), sample_training()
    (tmp_path / ".tmp-half").write_text("{")
    log.begin(record)
    assert list(log.recent(10)) == [record]
    assert not list(tmp_path.glob(".tmp-*"))


def test_log_without_writable_directory_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelStoreUnavailable, match="training log"):
        DirectoryTrainings(tmp_path / "file" / "trainings").begin(sample_training())


@pytest.mark.skipif(os.geteuid() != 0, reason="a file that its own user cannot replace takes an attribute of root's")
def test_failed_write_leaves_no_temporary_file(tmp_path: Path) -> None:
    log, record = DirectoryTrainings(tmp_path), sample_training()
    log.begin(record)
    (tmp_path / f"{record.id}.json").unlink()
    (tmp_path / f"{record.id}.json").mkdir()
    with pytest.raises(ModelStoreUnavailable):
        log.begin(record)
    assert not list(tmp_path.glob(".tmp-*"))
