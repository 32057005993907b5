"""Checks without load: the steps of the lab, and the privileges of pods."""

from __future__ import annotations

import json

from cluster import SERVICE
from trial import Trial

_INSIDE = (
    "id -u; ls /var/run/secrets/kubernetes.io 2>&1; touch /x 2>&1; "
    "grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status; env"
)


def lab(trial: Trial) -> None:
    """Check the steps of the fifth task of the lab."""
    cluster, check = trial.cluster, trial.check
    health = cluster.ask("GET", "/health")
    check(health["status"] == "healthy" and health["model_loaded"], "`GET /health` says `healthy`")
    estimate = cluster.ask("POST", "/predict", {"size": 2400, "bedrooms": 3, "age": 7})
    check("prediction" in estimate, "`POST /predict` returns an estimate")
    recent = [prediction["id"] for prediction in cluster.ask("GET", "/predictions")["predictions"]]
    check(estimate["id"] in recent, "`GET /predictions` lists it from every pod")
    logs = cluster.kubectl("logs", "-l", SERVICE, "--tail=50")
    check("housepredict serves on" in logs, "`kubectl logs` shows the log of the pods")
    cluster.kubectl("scale", "deployment/housepredict", "--replicas=3")
    cluster.settle(3)
    subsets = cluster.get("endpoints", "housepredict")["subsets"]
    endpoints = sum(len(subset["addresses"]) for subset in subsets)
    check(endpoints == 3, f"`kubectl scale` to 3 gives the Service {endpoints} endpoints")
    cluster.kubectl("scale", "deployment/housepredict", "--replicas=2")
    cluster.settle(2)


def pod_security(trial: Trial) -> None:
    """Check the privileges of the service and PostgreSQL from inside their pods."""
    for name, user, pod in (("the service", 10001, trial.cluster.pods()[0]), ("PostgreSQL", 999, "postgres-0")):
        output = trial.cluster.kubectl("exec", pod, "--", "sh", "-c", _INSIDE)
        restricted = (
            output.startswith(f"{user}\n")
            and "No such file" in output
            and "Read-only file system" in output
            and "CapEff:\t0000000000000000" in output
            and "NoNewPrivs:\t1" in output
            and "Seccomp:\t2" in output
            and "HOUSEPREDICT_PORT=" not in output
        )
        trial.check(
            restricted,
            f"{name} runs as {user}, under seccomp, without capabilities, privilege escalation, a Kubernetes token, "
            "Service variables, or a writable root filesystem",
        )


def service_links(trial: Trial) -> None:
    """Check that the variables that Kubernetes adds for Services don't configure the service."""
    cluster = trial.cluster
    spec = cluster.get("deployment", "housepredict")["spec"]["template"]["spec"]
    migrate = spec.pop("initContainers")[0]
    command = ["sh", "-c", "env | grep -E '^HOUSEPREDICT_(PORT|SERVICE)'; exec housepredict migrate"]
    spec |= {"enableServiceLinks": True, "restartPolicy": "Never", "containers": [migrate | {"command": command}]}
    metadata = {"name": "links", "labels": {"app.kubernetes.io/name": "housepredict"}}
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    )
    ended = ("Succeeded", "Failed")
    cluster.wait("end of the pod links", lambda: cluster.get("pod", "links")["status"]["phase"] in ended)
    logs = cluster.kubectl("logs", "links")
    trial.check(
        "HOUSEPREDICT_PORT=tcp://" in logs and "up to date" in logs,
        "without `enableServiceLinks: false`, the variable `HOUSEPREDICT_PORT=tcp://…` does no harm",
    )
