"""The report: the attacks and their results. The page is generated from figures in JSON."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from statistics import quantiles
from typing import Any

from campaign.trials import Attack, Result

FIGURES = Path("docs/explanation/campaign-report.json")
FOUND = Path(__file__).with_name("found.md")
"""Findings of the campaign, written by hand."""
PAGE = FIGURES.with_suffix(".md")

_INTRODUCTION = """# Durability campaign

`make campaign` attacks a running service, records every request and answer, and compares them with what is stored.
[JSON](campaign-report.json) has all figures, such as the counts by status that are totals here.
"""
_REQUEST = re.compile(r": (\d{3}|no answer)$")
_MAX_FAILURE = 120  # characters of a failure on the page; the JSON has all


def read(code: str, path: Path = FIGURES) -> Any:
    """Read the figures; if there are none, return those of a campaign that hasn't started."""
    return json.loads(path.read_text()) if path.exists() else {"code": code, "attacks": {}}


def merge(figures: Path, code: str, results: Mapping[str, Sequence[Result]], attacks: Sequence[Attack]) -> Any:
    """Combine new results with the figures in a file that are for the same state of the code."""
    known = read(code, figures)
    rows = known["attacks"] if known["code"] == code else {}
    rows |= {name: _summary(each) for name, each in results.items() if each}
    return {"code": code, "attacks": {each.name: rows[each.name] for each in attacks if each.name in rows}}


def write(figures: Any, attacks: Sequence[Attack], path: Path = FIGURES) -> None:
    """Write the figures and the page."""
    path.write_text(json.dumps(figures, indent=2) + "\n")
    path.with_suffix(".md").write_text(page(figures, attacks))


def page(figures: Any, attacks: Sequence[Attack]) -> str:
    """Return the page with these figures, in Markdown."""
    return "\n".join(_lines(figures, attacks)) + "\n"


def is_fast_enough(attack: Attack, row: Any) -> bool:
    """Return whether the 95th percentile of each duration is within the attack's limit."""
    return attack.p95 is None or all(each["p95"] <= attack.p95 for each in row["seconds"].values())


def _lines(figures: Any, attacks: Sequence[Attack]) -> Iterator[str]:
    rows = figures["attacks"]
    yield _INTRODUCTION
    yield f"Code: commit `{figures['code']}`.\n"
    yield "| Attack | Completed | Must hold | Failed trials | Acknowledged estimates |"
    yield "|---|---|---|---|---|"
    for each in attacks:
        row = rows.get(each.name)
        if row is None:
            yield f"| {each.title} | not run | {each.must_hold} | | |"
            continue
        done = f"{row['units']:,} of {each.full:,} {each.unit}"
        acknowledged = row["counts"].get("estimate: 200", 0)
        failed = len(row["failures"]) or ("none" if is_fast_enough(each, row) else "too slow")
        yield f"| [{each.title}](#{each.name}) | {done} | {each.must_hold} | {failed} | {acknowledged:,} |"
    yield f"\n{FOUND.read_text().rstrip()}"
    for each in attacks:
        if each.name in rows:
            yield from _details(each, rows[each.name])


def _details(attack: Attack, row: Any) -> Iterator[str]:
    yield f"\n## {attack.name}\n"
    seeds = f"`{row['first_seed']}` to `{row['last_seed']}`" + "".join(f", and `{seed}`" for seed in row["other_seeds"])
    yield f"{row['trials']} trials in {row['took']:,.0f} s, seeds {seeds}.\n"
    yield from (f"Could not run: {reason}.\n" for reason in row["unavailable"])
    if row["seconds"]:
        beginning = _common_words(row["seconds"])
        yield f"| {f'Seconds {beginning}'.rstrip()} | Times | Median | 95% | Longest |"
        yield "|---|---|---|---|---|"
        for name, times in row["seconds"].items():
            figures = (f"{times[key]:.2f}" for key in ("median", "p95", "longest"))
            yield f"| {name.removeprefix(beginning).lstrip()} | {times['times']:,} | {' | '.join(figures)} |"
        yield ""
    if row["counts"]:
        yield f"Counts: {'; '.join(_totals(row['counts']))}."
    yield from (f"\n- {_shorten(failure)}" for failure in row["failures"])


def _common_words(names: Iterable[str]) -> str:
    """Return the words with which all names begin, without the last word of any."""
    columns = zip(*(name.split()[:-1] for name in names), strict=False)
    return " ".join(words[0] for words in takewhile(lambda words: len(set(words)) == 1, columns))


def _totals(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the number of requests, and the sums of other counts with the same beginning, up to a comma or colon."""
    groups: dict[str, list[str]] = {}
    for name in counts:
        subject = "requests" if _REQUEST.search(name) else re.split("[,:] ", name)[0]
        groups.setdefault(subject, []).append(name)
    for subject, names in groups.items():
        title = subject if len(names) > 1 or subject == "requests" else names[0]
        yield f"{title} {sum(counts[name] for name in names):,}"


def _shorten(failure: str) -> str:
    line = failure.partition("\n")[0]
    return line if len(line) <= _MAX_FAILURE else f"{line[:_MAX_FAILURE].rstrip()}…"


def _summary(results: Sequence[Result]) -> Any:
    counts: Counter[str] = Counter()
    seconds: dict[str, list[float]] = {}
    for each in results:
        counts.update(each.counts)
        for name, times in each.seconds.items():
            seconds.setdefault(name, []).extend(times)
    return {
        "trials": len(results),
        "units": sum(each.units for each in results if not each.unavailable),
        "took": round(sum(each.took for each in results), 1),
        "first_seed": results[0].seed,
        "last_seed": results[-1].seed,
        "other_seeds": [each.seed for each in results if _run(each) != _run(results[0])],
        "failures": [
            *(each.failure for each in results if each.failure),
            *(f"Passed when run again, after: {failure}" for each in results for failure in each.earlier_failures),
        ],
        "unavailable": sorted({each.unavailable for each in results if each.unavailable}),
        "counts": dict(sorted(counts.items())),
        "seconds": {name: _spread(times) for name, times in sorted(seconds.items())},
    }


def _run(result: Result) -> str:
    return result.seed.split("/")[0]


def _spread(times: Sequence[float]) -> Any:
    cuts = quantiles(times, n=100, method="inclusive") if len(times) > 1 else [times[0]] * 99
    return {"times": len(times), "median": cuts[49], "p95": cuts[94], "longest": max(times)}
