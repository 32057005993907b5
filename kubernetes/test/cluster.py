"""A namespace of a cluster, accessed through kubectl.

These scripts use only the standard library, so that they need nothing but Python and kubectl.
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
TIMEOUT_S = 240
SERVICE = "app.kubernetes.io/name=housepredict,app.kubernetes.io/component=service"


class CheckFailed(Exception):
    """A check failed, or kubectl did."""


@dataclass(frozen=True)
class Cluster:
    """The operations of the test on its namespace. Each raises CheckFailed if kubectl fails."""

    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output."""
        done = subprocess.run(
            ["kubectl", "--namespace", self.namespace, *arguments],  # noqa: S607  # the one on the PATH
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CheckFailed(f"kubectl {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Get objects as JSON."""
        return json.loads(self.kubectl("get", "-o", "json", *arguments))

    def apply(self, overlay: str, *arguments: str) -> None:
        """Apply an overlay, or the objects in it that `arguments` select."""
        self.kubectl("apply", "-k", str(OVERLAYS / overlay), *arguments)

    def rollout(self, name: str) -> None:
        """Wait until the rollout of an object is complete."""
        self.kubectl("rollout", "status", name, f"--timeout={TIMEOUT_S}s")

    def pods(self, ready: bool = True) -> list[str]:
        """List the service's pods: those that are ready and not terminating, or all of them."""
        return [
            pod["metadata"]["name"]
            for pod in self.get("pods", "-l", SERVICE)["items"]
            if not ready or (not pod["metadata"].get("deletionTimestamp") and _is_ready(pod))
        ]

    def settle(self, pods: int) -> None:
        """Wait until exactly this number of pods exists, and all are ready."""
        self.wait(f"{pods} pods", lambda: len(self.pods()) == len(self.pods(ready=False)) == pods)

    def wait(self, goal: str, condition: Callable[[], bool]) -> None:
        """Wait until a condition returns True without raising CheckFailed. Raises CheckFailed after the timeout."""
        end, reason = time.time() + TIMEOUT_S, ""
        while True:
            try:
                if condition():
                    return
            except CheckFailed as error:
                reason = str(error)
            if time.time() > end:
                raise CheckFailed(f"timeout while waiting for: {goal}; {reason}; {self.kubectl('get', 'pods')}")
            time.sleep(0.5)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request through the Service and return the JSON of its response. Raises CheckFailed for an error."""
        text = "" if body is None else json.dumps(body)
        output = self.kubectl("exec", "-i", "load", "--", "python", "/load/ask.py", method, path, "-", stdin=text)
        status, _, content = output.partition("\n")
        if not status.startswith("2"):
            raise CheckFailed(f"{method} {path}: {output}")
        return json.loads(content)

    def ask_pod(self, pod: str, path: str) -> Any:
        """Send a GET request to one pod through the API server, and return the JSON of its response."""
        return json.loads(self._of_pod(pod, path))

    def _of_pod(self, pod: str, path: str) -> str:
        return self.kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:5000/proxy{path}")

    def generations(self) -> list[int]:
        """List the generation of the model that each worker of each pod serves."""
        return [generation for pod in self.pods() for generation in generations(self._of_pod(pod, "/metrics"))]

    def pending(self) -> int:
        """Count the predictions that are pending in the spools of all pods."""
        checks = [self.ask_pod(pod, "/health/ready")["checks"]["predictions"] for pod in self.pods()]
        return sum(check.get("spool", {}).get("pending", 0) for check in checks)

    def rows(self) -> set[str]:
        """Query the ids of the predictions in PostgreSQL."""
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


def report_progress(text: str) -> None:
    """Report progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _is_ready(pod: Any) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", [])
    )
