"""What a training is said to take of memory: what trainings took, and some more."""

from __future__ import annotations

import re

import joblib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.sklearn_model.memory import memory_of
from housepredict.adapters.sklearn_model.trainer import SklearnTrainer
from housepredict.domain.models import Algorithm, Effort, TrainingOptions
from housepredict.domain.sales import Extent

MIB = 2**20
MEASURED = [
    [int(cell.replace(",", "")) for cell in line.strip(" |").split("|")]
    for line in re.findall(r"^ *\|[ \d,|]+\|$", memory_of.__doc__ or "", re.MULTILINE)
]


@pytest.mark.parametrize(("rows", "columns", "trees", "jobs", "measured", "told"), MEASURED)
def test_it_is_what_was_measured_and_some_more(
    rows: int, columns: int, trees: int, jobs: int, measured: int, told: int
) -> None:
    needed = memory_of(Extent(rows, columns), trees, jobs)
    assert round(needed / MIB) == told
    assert measured <= told <= 1.2 * measured


def test_there_are_measurements() -> None:
    assert len(MEASURED) == 15


@given(st.integers(0, 10**6), st.integers(1, 1000), st.integers(0, 2000), st.integers(1, 64))
def test_more_never_takes_less(rows: int, columns: int, trees: int, jobs: int) -> None:
    needed = memory_of(Extent(rows, columns), trees, jobs)
    assert needed <= memory_of(Extent(rows, columns + 1), trees, jobs)
    assert needed < memory_of(Extent(rows, columns), trees + 1, jobs)
    assert needed < memory_of(Extent(rows, columns), trees, jobs + 1)
    assert needed < memory_of(Extent(2 * rows + 1, columns), trees, jobs)


def test_a_line_has_no_jobs_and_no_trees_and_effort_costs() -> None:
    extent, memory = Extent(21_613, 21), SklearnTrainer().memory
    jobs = joblib.effective_n_jobs(-1)
    assert memory(extent, TrainingOptions(algorithm=Algorithm.LINEAR)) == memory_of(extent, 0, 1)
    assert memory(extent, TrainingOptions(algorithm=Algorithm.RIDGE)) == memory_of(extent, 0, jobs)
    assert memory(extent, TrainingOptions(effort=Effort.LOW)) == memory_of(extent, 500, jobs)
    assert memory(extent, TrainingOptions()) == memory_of(extent, 1000, jobs)
