"""Output files: format by ending, and permissions."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_IMODE

import pytest

from housepredict.adapters.files.atomic import atomic_file
from housepredict.domain.errors import InvalidSettings
from housepredict.entrypoints.composition import output_ending


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.csv", ".csv"), ("a.CSV.gz", ".csv.gz"), ("a.Parquet", ".parquet"), ("b.csv.parquet", ".parquet")],
)
def test_output_ending_is_case_insensitive(name: str, ending: str) -> None:
    assert output_ending(Path(name), ".csv", ".csv.gz", ".parquet") == ending


@pytest.mark.parametrize("name", ["a.pq", "a.xlsx", "a.parquet.gz", "a", "a.gz", "csv"])
@pytest.mark.parametrize("there", [True, False])
def test_output_ending_rejects_other_names(tmp_path: Path, name: str, there: bool) -> None:
    path = tmp_path / name
    if there:
        path.touch()
    with pytest.raises(InvalidSettings, match=rf"output .*{name} must end with \.csv, \.csv\.gz or \.parquet"):
        output_ending(path, ".csv", ".csv.gz", ".parquet")


def test_output_ending_of_pipe_or_stdout_is_first_choice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in None, tmp_path / "pipe", Path("/dev/null"):
        assert output_ending(path, ".csv", ".csv.gz", ".parquet") == ".csv"


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o440])
def test_atomic_file_keeps_mode_of_replaced_file(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"older")
    path.chmod(mode)
    with atomic_file(path) as stream:
        stream.write(b"newer")
        assert [S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()] == [mode, mode]
    assert (path.read_bytes(), S_IMODE(path.stat().st_mode)) == (b"newer", mode)


def test_atomic_file_mode_follows_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "prices.csv") as stream:
            stream.write(b"new")
    finally:
        os.umask(before)
    assert S_IMODE((tmp_path / "prices.csv").stat().st_mode) == 0o640
