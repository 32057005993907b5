"""The campaign's torn files: they cover every byte, and detect an adapter that loses a batch."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from campaign import torn_sqlite
from campaign.tears import Places, Tear
from campaign.torn_kinds import Kind, Predictions, Sales
from campaign.trials import Broken, Trial
from housepredict.adapters.sqlite.predictions import SqlitePredictions

FRAME = 4096 + 24


class LosesTheLastFrame(Predictions):
    def open(self, file: Path) -> SqlitePredictions:
        log = file.with_name(f"{file.name}-wal")
        if log.exists():
            os.truncate(log, max(log.stat().st_size - FRAME, 0))
        return super().open(file)


class AppendsTwice(Predictions):
    """Appends a batch again with other ids, after the written batches are read."""

    def append(self, opened: SqlitePredictions, batch: int) -> None:
        super().append(opened, batch)
        if batch == 4:
            super().append(opened, 0)


def tear(folder: Path, kind: Kind) -> Trial:
    trial = Trial("torn", 0, "seed", 1, folder)
    torn_sqlite.tear(trial, kind, folder, Places(Random(1), every=False))
    return trial


def test_places_include_every_byte_and_the_end() -> None:
    assert list(Places(Random(1), every=True).of(100)) == list(range(101))
    assert {0, 1, 49, 50, 51, 99, 100} <= set(Places(Random(1), every=False).of(100, [50]))


def test_tears_keep_bytes_before_the_place() -> None:
    assert Tear.CUT.tear(b"written", 3, Random(1)) == b"wri"
    assert Tear.ZEROS.tear(b"written", 3, Random(1)) == b"wri\0\0\0\0"
    assert Tear.NOISE.tear(b"written", 3, Random(1))[:3] == b"wri"
    assert Tear.BEFORE.tear(b"written", 3, Random(1), b"earlier.") == b"wrilier."


@pytest.mark.slow
def test_adapter_that_keeps_acknowledged_rows_passes(tmp_path: Path) -> None:
    assert sum(tear(tmp_path, Sales()).counts.values()) > 50


@pytest.mark.parametrize("kind", [LosesTheLastFrame(), AppendsTwice()])
def test_adapter_that_loses_rows_is_detected(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(Broken):
        tear(tmp_path, kind)
