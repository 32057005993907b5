"""The page of the documentation that reports a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cluster import Cluster
from evidence import Answer, Phase, table

_PAGE = """# Kubernetes load test

Written by `kubernetes/test/run --report docs/explanation/kubernetes-report.md` on {day}
([how to run it](../how-to/run-on-kubernetes.md#try-it-under-load)). Failed requests and lost estimates must be 0.

## Environment

{versions}

## Under load

Clients in the cluster sent one request through the Service about every {pace}, over keep-alive connections,
reopened when the service had announced to close them.

{table}

## Checks

{facts}

## Memory

After the test, page cache included; one pod trained a model.

{memory}
"""


def write_report(
    path: Path, cluster: Cluster, phases: Sequence[Phase], facts: Sequence[str], answers: Sequence[Answer], usage: str
) -> None:
    """Write the page; `facts` are the checks that passed, and `usage` is the table from `memory`."""
    span = answers[-1].at - answers[0].at
    path.write_text(
        _PAGE.format(
            day=datetime.now(UTC).date(),
            versions=_versions(cluster),
            pace=f"{1000 * span / len(answers):.0f} ms",
            table=table(phases, answers),
            facts="\n".join(f"- {fact[0].upper()}{fact[1:]}." for fact in facts),
            memory=usage,
        ),
        encoding="utf-8",
    )


def _versions(cluster: Cluster) -> str:
    nodes = cluster.get("nodes")["items"]
    info = nodes[0]["status"]["nodeInfo"]
    cores = sum(int(node["status"]["capacity"]["cpu"]) for node in nodes)
    program = cluster.kubectl("exec", cluster.pods()[0], "--", "housepredict", "--version").strip()
    database = cluster.kubectl("exec", "postgres-0", "--", "postgres", "--version").strip()
    return "\n".join(
        [
            f"- Kubernetes {info['kubeletVersion']}, {len(nodes)} node(s), {cores} cores, shared with the clients",
            f"- {info['containerRuntimeVersion']}, Linux {info['kernelVersion'].split('-')[0]}, {info['osImage']}",
            f"- {program}, {database}",
        ]
    )


def memory(cluster: Cluster) -> str:
    """Return a Markdown table of each pod's memory, for cgroups v1 and v2."""
    rows = ["| Pod | MB now | MB peak |", "|---|---|---|"]
    files = (
        "cd /sys/fs/cgroup; cat memory.current memory.peak || cd memory; cat memory.usage_in_bytes memory.max_usage*"
    )
    for pod in [*cluster.pods(), "postgres-0"]:
        now, peak = cluster.kubectl("exec", pod, "--", "sh", "-c", f"{{ {files}; }} 2>/dev/null || true").split()[:2]
        rows.append(f"| {pod} | {int(now) / 1e6:.0f} | {int(peak) / 1e6:.0f} |")
    return "\n".join(rows)
