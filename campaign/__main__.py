"""`make campaign`: attack the storage of estimates, and report what came of it."""

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
    """Returns 0 if no promise was broken."""
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
    _say(f"seed {seed}, code {state}; results in {folder}")
    attacks = [each for each in ATTACKS if options.only is None or each.name in options.only]
    good = [run_attack(each, seed, results, BUILD / "failures", _say, quick=options.quick) for each in attacks]
    found = {each.name: results.of(each.name) for each in ATTACKS}
    if not options.quick:
        figures = report.merge(report.FIGURES, state, found, ATTACKS)
        report.write(figures, ATTACKS)
        _say(f"written to {report.PAGE}")
        good += [report.is_fast_enough(each, figures["attacks"][each.name]) for each in attacks]
    return 0 if all(good) else 1


def _options() -> argparse.Namespace:
    names = [each.name for each in ATTACKS]
    parser = argparse.ArgumentParser(prog="make campaign ARGS=...", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, metavar="ATTACK", help=f"some of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="a small share of each attack; no report")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results of this state of the code")
    parser.add_argument("--report", action="store_true", help="write the page again from its figures; no attack")
    parser.add_argument("--seed", help="for the same random numbers as in an earlier run")
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
