"""The campaign's trials: results are stored, failed trials run again and keep their evidence."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from attrs import define, evolve, field

from campaign.history import Action, Operation, Stored, read_history, read_stored
from campaign.trials import Attack, Broken, Result, Results, Trial, Unavailable, run_attack
from tests.unit.simulated_services import answer_of, id_at


@define
class Script:
    """An attack whose trials raise the errors in `ends`, by trial number; all others pass."""

    ends: dict[int, Exception] = field(factory=dict)
    seeds: list[str] = field(factory=list)

    def run(self, trial: Trial) -> None:
        self.seeds.append(trial.seed)
        trial.counts["units"] += trial.units
        trial.took("a wait", 0.5)
        (trial.folder / "evidence").write_text("something")
        if trial.number in self.ends:
            raise self.ends[trial.number]


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def attack(script: Script) -> Attack:
    return Attack("tries", "Tries", "attempts", full=25, quick=3, each=10, must_hold="nothing fails", run=script.run)


@define
class Campaign:
    folder: Path
    lines: list[str] = field(factory=list)

    @property
    def results(self) -> Results:
        return Results(self.folder / "results")

    @property
    def failures(self) -> Path:
        return self.folder / "failures"

    def run(self, attack: Attack, seed: str = "seed", *, quick: bool = False) -> bool:
        return run_attack(attack, seed, self.results, self.failures, self.lines.append, quick=quick)


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path)


@pytest.mark.parametrize(
    ("full", "each", "sizes"), [(25, 10, [10, 10, 5]), (20, 10, [10, 10]), (3, 10, [3]), (1, 1, [1])]
)
def test_trial_sizes_sum_to_full_size(attack: Attack, full: int, each: int, sizes: list[int]) -> None:
    assert evolve(attack, full=full, each=each).sizes(quick=False) == sizes


def test_quick_attack_is_one_trial(attack: Attack) -> None:
    assert attack.sizes(quick=True) == [3]


def test_results_record_each_trial(attack: Attack, campaign: Campaign, script: Script) -> None:
    assert campaign.run(attack)
    results = campaign.results.of("tries")
    assert [each.units for each in results] == [10, 10, 5]
    assert [each.seed for each in results] == script.seeds == [f"seed/tries/{number}" for number in range(3)]
    assert [(each.counts, each.seconds) for each in results[2:]] == [({"units": 5}, {"a wait": [0.5]})]
    assert len(campaign.lines) == 3


def test_passed_trials_are_not_rerun(attack: Attack, campaign: Campaign, script: Script) -> None:
    script.ends = {1: Broken("lost")}
    assert not campaign.run(attack)
    del script.ends[1], script.seeds[:]
    assert campaign.run(attack, "another")
    assert script.seeds == ["another/tries/1"]
    results = campaign.results.of("tries")
    assert [each.failure for each in results] == [None, None, None]
    assert [len(each.earlier_failures) for each in results] == [0, 1, 0]
    assert "Broken: lost" in results[1].earlier_failures[0]


def test_interrupted_campaign_resumes(attack: Attack, campaign: Campaign, script: Script) -> None:
    script.ends = {1: KeyboardInterrupt()}  # type: ignore[dict-item]
    with pytest.raises(KeyboardInterrupt):
        campaign.run(attack)
    del script.ends[1], script.seeds[:]
    assert campaign.run(attack)
    assert script.seeds == ["seed/tries/1", "seed/tries/2"]


def test_results_of_other_trial_sizes_are_dropped(attack: Attack, campaign: Campaign, script: Script) -> None:
    campaign.run(attack)
    del script.seeds[:]
    campaign.run(evolve(attack, full=15))
    assert script.seeds == ["seed/tries/1"]
    assert [each.units for each in campaign.results.of("tries")] == [10, 5]


def test_failed_trial_keeps_its_folder(attack: Attack, campaign: Campaign, script: Script) -> None:
    script.ends = {0: ValueError("wrong")}
    assert not campaign.run(attack, quick=True)
    (folder,) = campaign.failures.iterdir()
    assert (folder / "evidence").read_text() == "something"
    assert "ValueError: wrong" in (folder / "error").read_text()
    (result,) = campaign.results.of("tries")
    assert result.failure == f"FAILED with seed seed/tries/0: ValueError: wrong (kept in {folder})"


def test_failed_trial_skips_sockets(attack: Attack, campaign: Campaign) -> None:
    def run(trial: Trial) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(trial.folder / "socket"))
        raise Broken("lost")

    assert not campaign.run(evolve(attack, run=run), quick=True)
    assert len(list(campaign.failures.iterdir())) == 1


def test_unavailable_trial_is_reported_and_retried(attack: Attack, campaign: Campaign, script: Script) -> None:
    script.ends = {0: Unavailable("no disks")}
    assert campaign.run(attack)
    assert campaign.results.of("tries")[0].unavailable == "no disks"
    assert "!!! tries CANNOT RUN HERE: no disks !!!" in campaign.lines
    script.ends = {}
    assert campaign.run(attack)
    assert [each.unavailable for each in campaign.results.of("tries")] == [None, None, None]


def test_check_counts_answers_and_raises_violations(tmp_path: Path) -> None:
    trial = Trial("tries", 0, "seed", 1, tmp_path)
    record = Stored(id_at(1, 1), 7, 700.0, "a version")
    estimate = Operation(Action.ESTIMATE, "a", 1.0, 2.0, 200, house=7, answer=answer_of(record))
    with trial.history() as history:
        history.add(estimate)
        history.add(Operation(Action.FIND, "a", 1.0, 2.0, None, id=record.id))
    trial.check(history, [record])
    assert trial.counts == {"estimate: 200": 1, "find: no answer": 1, "stored": 1}
    assert read_history(tmp_path / "history.jsonl") == history.operations
    assert read_stored(tmp_path / "stored.jsonl") == [record]
    with pytest.raises(Broken, match=r"1 x an acknowledged estimate is not stored\nLOST: Operation.*house=7"):
        trial.check(history, [])


def test_results_of_attack_that_never_ran_are_empty(tmp_path: Path) -> None:
    assert Results(tmp_path / "nothing").of("tries") == []


def test_results_round_trip(tmp_path: Path) -> None:
    results = Results(tmp_path)
    one = Result("tries", 1, "seed", 5, 1.5, {"a": 1}, {"b": [0.25]}, None, "reason")
    results.add(one)
    assert results.of("tries") == [one]
