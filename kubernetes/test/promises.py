"""Tries on a cluster what is promised of the manifests; started by kubernetes/test/run, which says what it takes."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import evidence
from basics import lab, pod_security, service_links
from cluster import Broken, Cluster, say
from report import memory, write_report
from trial import SETTLED, Trial

NAMESPACE = "housepredict-test"
HERE = Path(__file__).parent
SOON = 2.0  # seconds in which all pods have to serve what was promoted
SALES = 400


class Test(Trial):
    """All that is tried."""

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
        with self.phase("no change"):
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
        with self.phase("a Job trains on recorded sales"):
            self.record_sales()
            self.trained(self.train_by_job)

    def trained(self, train: Callable[[], None]) -> None:
        """Train, and see that every pod takes it up."""
        before = self.cluster.ask("GET", "/models")["generation"]
        train()
        self.cluster.wait("later generation in every pod", lambda: min(self.cluster.generations(), default=0) > before)

    def record_sales(self) -> None:
        """Houses that were estimated are sold, for about that."""
        answers, _ = self.notes("/tmp/load")  # noqa: S108  # a folder of a pod's
        market = random.Random(1)
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
        self.check("Promoted" in said, f"the Job trains on {SALES} recorded sales, and its version is promoted")

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
        self.check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged estimates are missing from PostgreSQL")
        for generation in sorted({look.generation for look in looks} - {0}):
            seconds = evidence.convergence(looks, generation)
            took = "never" if seconds is None else f"within {seconds:.2f} s"
            promise = f"generation {generation} reached every pod {took} of its commit"
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
            f"with a volume for each spool, both pods were killed at once during a PostgreSQL outage with at least "
            f"{waited} pending estimates: {len(lost)} of {len(acknowledged)} acknowledged estimates are missing",
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
        lab(test)
        pod_security(test)
        service_links(test)
        with test.load("/tmp/load"):  # noqa: S108  # a folder of a pod's
            test.upheaval()
        answers, taken = test.judge(), memory(test.cluster)
        test.durable_spool()
        if options.report:
            write_report(options.report, test.cluster, test.phases, test.facts, answers, taken)
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
