"""Tries on a cluster what is promised of the manifests; started by kubernetes/test/run, which says what it takes."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import evidence
from cluster import SERVICE, Broken, Cluster, say
from report import write_report

NAMESPACE = "housepredict-test"
HERE = Path(__file__).parent
SETTLED = 3.0  # seconds of load before and after what is done
SOON = 2.0  # seconds in which all pods have to serve what was promoted
SALES = 400


@dataclass
class Test:
    """One run, and what it found."""

    cluster: Cluster
    phases: list[evidence.Phase] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def check(self, held: bool, promise: str) -> None:
        """Note whether it held, and go on."""
        say(("held: " if held else "BROKEN: ") + promise)
        self.facts.append(promise)
        if not held:
            self.broken.append(promise)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Something that is done under load."""
        say(name)
        began = time.time()
        time.sleep(SETTLED)
        yield
        time.sleep(SETTLED)
        self.phases.append(evidence.Phase(name, began, time.time()))

    def start(self) -> None:
        """Apply the overlay but for the training, and wait; and bring the clients in."""
        self.cluster.apply("test", "-l", "app.kubernetes.io/component!=training")
        self.cluster.rollout("statefulset/postgres")
        self.cluster.rollout("deployment/housepredict")
        secret = self.cluster.get("deployment", "housepredict")["spec"]["template"]["spec"]["volumes"][-1]["secret"]
        files = [f"--from-file={HERE / name}" for name in ("load.py", "ask.py")]
        self.cluster.kubectl("create", "configmap", "load", *files)
        pod = (HERE / "load.yaml").read_text(encoding="utf-8").replace("SECRET", secret["secretName"])
        self.cluster.kubectl("apply", "-f", "-", given=pod)
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=120s")

    def lab(self) -> None:
        """The fifth task of the lab."""
        ask = self.cluster.ask
        health = ask("GET", "/health")
        self.check(health["status"] == "healthy" and health["model_loaded"], "`GET /health` says `healthy`")
        estimate = ask("POST", "/predict", {"size": 2400, "bedrooms": 3, "age": 7})
        self.check("prediction" in estimate, "`POST /predict` gives an estimate")
        recent = [each["id"] for each in ask("GET", "/predictions")["predictions"]]
        self.check(estimate["id"] in recent, "`GET /predictions` has it, whichever pod is asked")
        logs = self.cluster.kubectl("logs", "-l", SERVICE, "--tail=50")
        self.check("housepredict serves on" in logs, "`kubectl logs` shows the log of the pods")
        self.cluster.kubectl("scale", "deployment/housepredict", "--replicas=3")
        self.cluster.settle(3)
        found = self.cluster.get("endpoints", "housepredict")["subsets"]
        self.check(
            sum(len(each["addresses"]) for each in found) == 3, "`kubectl scale` to 3 gives the Service 3 endpoints"
        )
        self.cluster.kubectl("scale", "deployment/housepredict", "--replicas=2")
        self.cluster.settle(2)

    def pod_security(self) -> None:
        """What a pod may do, seen from within, and that Kubernetes' own variables harm nothing."""
        inside = (
            "id -u; ls /var/run/secrets/kubernetes.io 2>&1; touch /x 2>&1; "
            "grep -E 'CapEff|NoNewPrivs|^Seccomp:' /proc/self/status; env"
        )
        for name, user in ((self.cluster.pods()[0], "10001"), ("postgres-0", "999")):
            said = self.cluster.kubectl("exec", name, "--", "sh", "-c", inside)
            held = (
                said.startswith(f"{user}\n")
                and "No such file" in said
                and "Read-only file system" in said
                and "CapEff:\t0000000000000000" in said
                and "NoNewPrivs:\t1" in said
                and "HOUSEPREDICT_PORT=" not in said
            )
            what = "the service" if user == "10001" else "PostgreSQL"
            self.check(
                held,
                f"{what} runs as {user}, without capabilities, privileges to gain, a Kubernetes token, "
                "variables of Services, or a root folder that it could write to",
            )
        spec = self.cluster.get("deployment", "housepredict")["spec"]["template"]["spec"]
        migrate = spec.pop("initContainers")[0]
        command = {"command": ["sh", "-c", "env | grep -E '^HOUSEPREDICT_(PORT|SERVICE)'; exec housepredict migrate"]}
        spec |= {"enableServiceLinks": True, "restartPolicy": "Never", "containers": [migrate | command]}
        metadata = {"name": "links", "labels": {"app.kubernetes.io/name": "housepredict"}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        self.cluster.kubectl("apply", "-f", "-", given=json.dumps(pod))
        ended = ("Succeeded", "Failed")
        self.cluster.wait("end of links", lambda: self.cluster.get("pod", "links")["status"]["phase"] in ended)
        said = self.cluster.kubectl("logs", "links")
        self.check(
            "HOUSEPREDICT_PORT=tcp://" in said and "up to date" in said,
            "where `enableServiceLinks: false` is forgotten, `HOUSEPREDICT_PORT=tcp://…` is there and does no harm",
        )

    @contextmanager
    def load(self, folder: str) -> Iterator[None]:
        """Clients ask in the meantime."""
        program = f"nohup python /load/load.py {folder} >/tmp/load.log 2>&1 &"
        self.cluster.kubectl("exec", "load", "--", "sh", "-c", program)
        try:
            yield
        finally:
            stop = f"touch {folder}/stop; while ! [ -e {folder}/stopped ]; do sleep 0.2; done"
            self.cluster.kubectl("exec", "load", "--", "sh", "-c", stop)

    def notes(self, folder: str) -> tuple[list[evidence.Answer], list[evidence.Look]]:
        """What the clients noted so far."""
        read = ["exec", "load", "--", "sh", "-c"]
        answers = self.cluster.kubectl(*read, f"cat {folder}/answers.*")
        return evidence.answers(answers), evidence.looks(self.cluster.kubectl(*read, f"cat {folder}/models"))

    def upheaval(self) -> None:
        """All that happens to a service, under load."""
        cluster = self.cluster
        with self.phase("nothing happens"):
            time.sleep(10)
        with self.phase("rolling restart"):
            cluster.kubectl("rollout", "restart", "deployment/housepredict")
            cluster.rollout("deployment/housepredict")
            cluster.settle(2)
        with self.phase("scaling from 2 to 4"):
            cluster.kubectl("scale", "deployment/housepredict", "--replicas=4")
            cluster.settle(4)
        with self.phase("scaling from 4 to 2"):
            cluster.kubectl("scale", "deployment/housepredict", "--replicas=2")
            cluster.settle(2)
        with self.phase("a pod is deleted"):
            cluster.kubectl("delete", "pod", cluster.pods()[0])
            cluster.settle(2)
        with self.phase("PostgreSQL's pod is deleted"):
            cluster.kubectl("delete", "pod", "postgres-0")
            cluster.rollout("statefulset/postgres")
            cluster.wait("empty spool", lambda: cluster.waiting() == 0)
        with self.phase("training over HTTP"):
            self.trained(lambda: self.check("message" in cluster.ask("POST", "/train"), "`POST /train` trains"))
        with self.phase("sales come back, and a Job trains on them"):
            self.record_sales()
            self.trained(self.train_by_job)

    def trained(self, train: Callable[[], None]) -> None:
        """Train, and see that every pod takes it up."""
        # processes that stopped a moment ago may be listed yet
        self.cluster.wait("2 processes", lambda: len(self.cluster.ask("GET", "/models")["processes"]) == 2)
        before = self.cluster.ask("GET", "/models")["generation"]
        train()
        self.cluster.wait(
            "convergence",
            lambda: (found := self.cluster.ask("GET", "/models"))["converged"] and found["generation"] > before,
        )

    def record_sales(self) -> None:
        """Houses that were estimated are sold, for about that."""
        answers, _ = self.notes("/tmp/load")  # noqa: S108  # a folder of a pod's
        market = random.Random(1)  # noqa: S311  # prices, not secrets
        day = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
        sold = [each for each in answers if each.id][-SALES:]
        sales = [
            {"prediction": each.id, "price": round(each.price * market.gauss(1, 0.05), 2), "date": day} for each in sold
        ]
        self.cluster.ask("POST", "/sales", sales)

    def train_by_job(self) -> None:
        """As the CronJob would."""
        self.cluster.apply("test", "-l", "app.kubernetes.io/component=training")
        self.cluster.kubectl("wait", "--for=condition=Complete", "job/housepredict-train", "--timeout=240s")
        said = self.cluster.kubectl("logs", "job/housepredict-train")
        self.check("Promoted" in said, f"the Job trains on {SALES} sales that came back, and its version is promoted")

    def judge(self) -> list[evidence.Answer]:
        """Compare what the clients noted with what is kept."""
        answers, looks = self.notes("/tmp/load")  # noqa: S108  # a folder of a pod's
        self.cluster.wait("empty spool", lambda: self.cluster.waiting() == 0)
        acknowledged = {each.id for each in answers if each.id}
        lost = acknowledged - self.cluster.rows()
        failed = [each for each in answers if each.failure]
        for each in failed[:20]:
            say(f"{each.at:.3f} {each.failure}")
        self.check(not failed, f"{len(failed)} of {len(answers)} requests failed")
        self.check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged estimates are missing in PostgreSQL")
        for generation in sorted({look.generation for look in looks} - {0}):
            seconds = evidence.convergence(looks, generation)
            took = "never" if seconds is None else f"within {seconds:.2f} s"
            promise = f"generation {generation} was served by every pod {took} of its commit"
            self.check(seconds is not None and seconds <= SOON, promise)
        return answers

    def durable_spool(self) -> None:
        """A pod is lost while PostgreSQL is away, and its volume brings back what waited."""
        cluster = self.cluster
        cluster.kubectl("delete", "deployment/housepredict", "--wait=true")
        cluster.settle(0)
        cluster.apply("test-durable", "-l", "app.kubernetes.io/component!=training")
        cluster.settle(2)
        folder = "/tmp/durable"  # noqa: S108  # a folder of a pod's
        with self.load(folder):
            time.sleep(2 * SETTLED)
            cluster.kubectl("scale", "statefulset/postgres", "--replicas=0")
            cluster.wait("predictions that wait", lambda: cluster.waiting() > 100)
            waited = cluster.waiting()
            cluster.kubectl("delete", "pod", "housepredict-0", "housepredict-1", "--grace-period=0", "--force")
            cluster.settle(2)
            time.sleep(SETTLED)
            cluster.kubectl("scale", "statefulset/postgres", "--replicas=1")
            cluster.rollout("statefulset/postgres")
        cluster.wait("empty spool", lambda: cluster.waiting() == 0)
        answers, _ = self.notes(folder)
        acknowledged = {each.id for each in answers if each.id}
        lost = acknowledged - cluster.rows()
        self.check(
            not lost,
            f"with a volume for each spool, both pods were killed at once while PostgreSQL was away and {waited} estimates "
            f"or more waited: {len(lost)} of {len(acknowledged)} acknowledged estimates are missing",
        )


def main() -> int:
    """Run all of it. Returns 0 if all held, 1 if not, 2 if it could not begin."""
    parser = argparse.ArgumentParser(prog="kubernetes/test/run", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the namespace there")
    parser.add_argument("--report", type=Path, help="where to write what was seen, as Markdown")
    options = parser.parse_args()
    test = Test(Cluster(NAMESPACE))
    try:
        test.cluster.kubectl("get", "namespace", NAMESPACE)
    except Broken:
        pass
    else:
        print(f"there is a namespace {NAMESPACE} already: kubectl delete namespace {NAMESPACE}", file=sys.stderr)
        return 2
    try:
        test.start()
        test.lab()
        test.pod_security()
        with test.load("/tmp/load"):  # noqa: S108  # a folder of a pod's
            test.upheaval()
        answers = test.judge()
        test.durable_spool()
        if options.report:
            write_report(options.report, test.cluster, test.phases, test.facts, answers)
    except Broken as error:
        test.check(False, str(error))
    finally:
        if not options.keep:
            say("cleaning up")
            subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--wait=true"], check=False)  # noqa: S607  # as above
    say("all held" if not test.broken else f"{len(test.broken)} broken: " + "; ".join(test.broken))
    return 1 if test.broken else 0


if __name__ == "__main__":
    sys.exit(main())
