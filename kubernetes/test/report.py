"""The page of the documentation that tells what a run saw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cluster import Cluster
from evidence import Answer, Phase, table

_PAGE = """# What a cluster showed

Written by `kubernetes/test/run --report docs/explanation/kubernetes-report.md` on {day};
[Run on Kubernetes](../how-to/run-on-kubernetes.md#try-it-under-load) tells how. Other clusters have
other times; what failed and what was lost has to be nothing on all.

## On what

{versions}

## Under load

Clients in the cluster asked through the Service, on connections that they kept open, for one estimate each {pace} or
so. A connection that the service said it would close was opened anew; anything else that went wrong counts as failed.

{table}

## What held

{facts}

## Memory

After all that; the files that were read count, and one of the pods has trained.

{memory}
"""


def write_report(
    path: Path, cluster: Cluster, phases: Sequence[Phase], facts: Sequence[str], answers: Sequence[Answer], taken: str
) -> None:
    """Write it; `taken` is what `memory` said."""
    span = answers[-1].at - answers[0].at
    path.write_text(
        _PAGE.format(
            day=datetime.now(UTC).date(),
            versions=_versions(cluster),
            pace=f"{1000 * span / len(answers):.0f} ms",
            table=table(phases, answers),
            facts="\n".join(f"- {each[0].upper()}{each[1:]}." for each in facts),
            memory=taken,
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
            f"- Kubernetes {info['kubeletVersion']}, {len(nodes)} node(s), {cores} cores, the clients there, too",
            f"- {info['containerRuntimeVersion']}, Linux {info['kernelVersion'].split('-')[0]}, {info['osImage']}",
            f"- {program}, {database}",
        ]
    )


def memory(cluster: Cluster) -> str:
    """What each pod has taken, in Markdown; of any version of cgroups."""
    rows = ["| Pod | MB now | MB at most |", "|---|---|---|"]
    files = (
        "cd /sys/fs/cgroup; cat memory.current memory.peak || cd memory; cat memory.usage_in_bytes memory.max_usage*"
    )
    for pod in [*cluster.pods(), "postgres-0"]:
        now, most = cluster.kubectl("exec", pod, "--", "sh", "-c", f"{{ {files}; }} 2>/dev/null || true").split()[:2]
        rows.append(f"| {pod} | {int(now) / 1e6:.0f} | {int(most) / 1e6:.0f} |")
    return "\n".join(rows)
