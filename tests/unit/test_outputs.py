"""Files that are written: what their names say, and who may read them."""

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
def test_the_end_of_a_name_says_what_to_write_in_any_case_of_letters(name: str, ending: str) -> None:
    assert output_ending(Path(name), ".csv", ".csv.gz", ".parquet") == ending


@pytest.mark.parametrize("name", ["a.pq", "a.xlsx", "a.parquet.gz", "a", "a.gz", "csv"])
@pytest.mark.parametrize("there", [True, False])
def test_any_other_end_of_a_name_is_refused(tmp_path: Path, name: str, there: bool) -> None:
    path = tmp_path / name
    if there:
        path.touch()
    with pytest.raises(InvalidSettings, match=rf"output .*{name} must end with \.csv, \.csv\.gz or \.parquet"):
        output_ending(path, ".csv", ".csv.gz", ".parquet")


def test_what_has_no_name_of_its_own_takes_the_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in None, tmp_path / "pipe", Path("/dev/null"):
        assert output_ending(path, ".csv", ".csv.gz", ".parquet") == ".csv"


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o440])
def test_what_replaces_a_file_has_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "prices.csv"
    path.write_bytes(b"older")
    path.chmod(mode)
    with atomic_file(path) as stream:
        stream.write(b"newer")
        assert [S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()] == [mode, mode]
    assert (path.read_bytes(), S_IMODE(path.stat().st_mode)) == (b"newer", mode)


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "prices.csv") as stream:
            stream.write(b"new")
    finally:
        os.umask(before)
    assert S_IMODE((tmp_path / "prices.csv").stat().st_mode) == 0o640
