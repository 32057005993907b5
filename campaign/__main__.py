"""`make campaign`: attack the storage of estimates, and report the results."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
from pathlib import Path

from campaign import report
from campaign.attacks import ATTACKS
from campaign.trials import Results, code, run_attack

BUILD = Path("build/campaign")


def main() -> int:
    """Run the attacks. Returns 0 if no promise was broken."""
    options = _options()
    seed = options.seed or secrets.token_hex(4)
    state = code()
    if options.report:
        report.write(report.read(state), ATTACKS)
        return 0
    folder = BUILD / ("quick" if options.quick else state)
    if options.quick or options.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    results = Results(folder)
    _print(f"seed {seed}, code {state}; results in {folder}")
    attacks = [attack for attack in ATTACKS if options.only is None or attack.name in options.only]
    passed = [run_attack(attack, seed, results, BUILD / "failures", _print, quick=options.quick) for attack in attacks]
    results_by_attack = {attack.name: results.of(attack.name) for attack in ATTACKS}
    if not options.quick:
        figures = report.merge(report.FIGURES, state, results_by_attack, ATTACKS)
        report.write(figures, ATTACKS)
        _print(f"written to {report.PAGE}")
        passed += [report.is_fast_enough(attack, figures["attacks"][attack.name]) for attack in attacks]
    return 0 if all(passed) else 1


def _options() -> argparse.Namespace:
    names = [attack.name for attack in ATTACKS]
    parser = argparse.ArgumentParser(prog="make campaign ARGS=...", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="ATTACK", help=f"run only these attacks: {', '.join(names)}"
    )
    parser.add_argument("--quick", action="store_true", help="run a small part of each attack, and write no report")
    parser.add_argument("--fresh", action="store_true", help="delete earlier results for this state of the code")
    parser.add_argument("--report", action="store_true", help="only write the page again from its figures")
    parser.add_argument("--seed", help="repeat the random numbers of an earlier run")
    return parser.parse_args()


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
