"""A namespace of a cluster, by way of kubectl.

Data classes, as nothing but Python and kubectl has to be installed to run this.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from load import generations

OVERLAYS = Path(__file__).parents[1] / "overlays"
PATIENCE = 240  # seconds
SERVICE = "app.kubernetes.io/name=housepredict,app.kubernetes.io/component=service"


class Broken(Exception):
    """Something that was promised did not hold."""


@dataclass(frozen=True)
class Cluster:
    """What the test does to its namespace."""

    namespace: str

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints. Raises Broken with what it complains of."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],  # noqa: S607  # the one that is on the path
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Broken(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Objects, as JSON."""
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def apply(self, overlay: str, *arguments: str) -> None:
        """Apply an overlay, or what is selected of it."""
        self.kubectl("apply", "-k", str(OVERLAYS / overlay), *arguments)

    def rollout(self, name: str) -> None:
        """Wait until it is as it should be."""
        self.kubectl("rollout", "status", name, f"--timeout={PATIENCE}s")

    def pods(self, ready: bool = True) -> list[str]:
        """The names of the service's pods: those that are ready and stay, or all there are."""
        return [
            pod["metadata"]["name"]
            for pod in self.get("pods", "-l", SERVICE)["items"]
            if not ready or (not pod["metadata"].get("deletionTimestamp") and _is_ready(pod))
        ]

    def settle(self, pods: int) -> None:
        """Wait until there are so many pods, all ready, and no other that has yet to stop."""
        self.wait(f"{pods} pods", lambda: len(self.pods()) == len(self.pods(ready=False)) == pods)

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until it is so; what cannot be told is not so yet. Raises Broken if it does not come to be."""
        end, reason = time.time() + PATIENCE, ""
        while True:
            try:
                if condition():
                    return
            except Broken as error:
                reason = str(error)
            if time.time() > end:
                raise Broken(f"still no {what}; {reason}; {self.kubectl('get', 'pods')}")
            time.sleep(0.5)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the service, through its Service. Raises Broken unless it is granted."""
        text = "" if body is None else json.dumps(body)
        said = self.kubectl("exec", "-i", "load", "--", "python", "/load/ask.py", method, path, "-", given=text)
        status, _, answer = said.partition("\n")
        if not status.startswith("2"):
            raise Broken(f"{method} {path}: {said}")
        return json.loads(answer)

    def ask_pod(self, pod: str, path: str) -> Any:
        """Ask one pod, through the API server. Answers of any status are answers, except where nobody answers."""
        return json.loads(self._of_pod(pod, path))

    def _of_pod(self, pod: str, path: str) -> str:
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:5000/proxy{path}")

    def generations(self) -> list[int]:
        """The generation of the model that each worker of each pod serves."""
        return [each for pod in self.pods() for each in generations(self._of_pod(pod, "/metrics"))]

    def waiting(self) -> int:
        """Predictions that wait in spools."""
        checks = [self.ask_pod(pod, "/health/ready")["checks"]["predictions"] for pod in self.pods()]
        return sum(check.get("spool", {}).get("pending", 0) for check in checks)

    def rows(self) -> set[str]:
        """The ids that PostgreSQL has."""
        query = "SELECT id FROM predictions"
        return set(
            self.kubectl(
                "exec",
                "postgres-0",
                "--",
                "psql",
                "-h",
                "/var/run/postgresql",
                "-U",
                "housepredict",
                "-d",
                "mldata",
                "-Atc",
                query,
            ).split()
        )


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _is_ready(pod: Any) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", [])
    )
