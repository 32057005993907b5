"""Write the results as Markdown, JSON and a plot."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput.runs import Outcome, Place, Rounds, Run, middle

VERSIONS = """
import json, platform, sys
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try: return version(name)
    except PackageNotFoundError: return None
print(json.dumps({"Python": platform.python_version()} | {name: of(name) for name in sys.argv[1:]}))
"""
OURS = ("housepredict", "uvicorn", "uvloop", "httptools", "starlette", "psycopg", "numpy")
THEIRS = ("flask", "gunicorn", "psycopg2-binary", "fastapi", "starlette", "scikit-learn", "uvicorn")


def facts(service_python: str, baseline_python: str, postgres_version: str) -> dict[str, Any]:
    """Return the machine and the versions of the measurement."""
    cpu = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    return {
        "cores": os.cpu_count(),
        "cpu": cpu,
        "system": f"{platform.system()} {platform.machine()}",
        "postgres": postgres_version,
        "service": _versions(service_python, OURS),
        "baselines": _versions(baseline_python, THEIRS),
    }


def _versions(python: str, packages: Sequence[str]) -> dict[str, str | None]:
    process = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, check=True)
    versions: dict[str, str | None] = json.loads(process.stdout)
    return versions


def markdown(about: Mapping[str, Any], effort: str, outcomes: Sequence[Outcome], rounds: Rounds) -> str:
    """Return the claims with their verdicts, and all measurements."""
    lines = [
        "# Throughput",
        "",
        f"{about['cores']} cores ({about['cpu']}, {about['system']}), shared by the load generator and all servers.",
        f"PostgreSQL {about['postgres']} with its default durability. {effort}",
        "",
        *(f"- {side}: " + ", ".join(f"{name} {version}" for name, version in about[side].items() if version)
          for side in ("service", "baselines")),
        "",
        "## Claims",
        "",
        "In parentheses: the minimum and maximum of the rounds.",
        "",
        "| Claim | Target | Measured | |",
        "|---|---|---|---|",
        *(_row(outcome) for outcome in outcomes),
        "",
        "## All measurements",
        "",
        "Medians of the rounds; responses and rows are sums. Rows are counted in the database after each run.",
        "",
        "| Target | Connections | Requests/s | p50 ms | p99 ms | 2xx responses | Rows stored | |",
        "|---|---|---|---|---|---|---|---|",
        *(_place_row(place, runs) for place, runs in rounds.items()),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _row(outcome: Outcome) -> str:
    bound = outcome.at_least if outcome.at_least is not None else outcome.at_most
    unit = "x" if outcome.unit == "times" else f" {outcome.unit}".rstrip()
    target = f"{'at least' if outcome.at_least is not None else 'at most'} {_figure(bound)}{unit}"
    measured = "" if outcome.value is None else f"{_figure(outcome.value)}{unit}"
    if outcome.low is not None:
        measured += f" ({_figure(outcome.low)} to {_figure(outcome.high)})"
    remarks = "; ".join([f"**{outcome.verdict}**", *outcome.notes])
    return f"| {outcome.claim} | {target} | {measured} | {remarks} |"


def _place_row(place: Place, runs: Sequence[Run]) -> str:
    stored = [run.stored for run in runs if run.stored is not None]
    cells = [
        place.target, place.connections, f"{middle(runs, 'rate'):,.1f}", f"{middle(runs, 'p50_ms'):.2f}",
        f"{middle(runs, 'p99_ms'):.2f}", f"{sum(run.succeeded for run in runs):,}",
        f"{sum(stored):,}" if stored else "", "; ".join(sorted({fault for run in runs for fault in run.faults})),
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write(
    folder: Path, about: Mapping[str, Any], effort: str, outcomes: Sequence[Outcome], rounds: Rounds,
    outage: Mapping[str, Sequence[Run]],
) -> None:  # fmt: skip
    """Write throughput.md, throughput.json and throughput.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "throughput.md").write_text(markdown(about, effort, outcomes, rounds))
    document = {
        "about": about,
        "effort": effort,
        "claims": [{"claim": outcome.claim, "value": outcome.value, "low": outcome.low, "high": outcome.high,
                    "at_least": outcome.at_least, "at_most": outcome.at_most, "unit": outcome.unit,
                    "verdict": outcome.verdict, "notes": list(outcome.notes)} for outcome in outcomes],
        "runs": [{"target": place.target, "connections": place.connections, "rounds": [run.as_json() for run in runs]}
                 for place, runs in rounds.items()],
        "outage": {phase: [run.as_json() for run in runs] for phase, runs in outage.items()},
    }  # fmt: skip
    (folder / "throughput.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    plot(folder / "throughput.svg", rounds)


def plot(path: Path, rounds: Rounds) -> None:
    """Plot the rates of all targets that were measured with several numbers of connections."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "housepredict"  # equal results make equal files
    from matplotlib import pyplot as plt

    connections = sorted({place.connections for place in rounds})
    targets = list(dict.fromkeys(place.target for place in rounds))
    several = [name for name in targets if sum(place.target == name for place in rounds) > 1]
    shown = [number for number in connections if any(Place(name, number) in rounds for name in several)]
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown) + 3, 4), sharey=True, squeeze=False)
    for axis, number in zip(axes[0], shown, strict=True):
        rates = [middle(rounds.get(Place(name, number)) or [_NOTHING], "rate") for name in several]
        bars = axis.barh(several, rates, color=["#1b7f5c" if "housepredict" in name else "#8a94a6" for name in several])
        axis.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=3)
        axis.margins(x=0.2)
        axis.set_title(f"{number} connection{'s' if number > 1 else ''}")
        axis.set_xlabel("requests/s")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


_NOTHING = Run(answers=0, seconds=1, not_2xx=0, socket_errors=0, p50_ms=0, p99_ms=0)
