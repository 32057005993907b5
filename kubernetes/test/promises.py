"""Tests the manifests on a cluster, under load. Start it with kubernetes/test/run, which lists the requirements."""

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
from cluster import CheckFailed, Cluster, report_progress
from report import memory, write_report
from trial import SETTLE_S, Trial

NAMESPACE = "housepredict-test"
HERE = Path(__file__).parent
MAX_CONVERGENCE_S = 2.0  # from a promotion until every pod serves it
SALES = 400


class Test(Trial):
    """The steps of the test."""

    def start(self) -> None:
        """Apply the overlay without the training, wait until it serves, and start the pod of the clients."""
        self.cluster.apply("test", "-l", "app.kubernetes.io/component!=training")
        self.cluster.rollout("statefulset/postgres")
        self.cluster.rollout("deployment/housepredict")
        secret = self.cluster.get("deployment", "housepredict")["spec"]["template"]["spec"]["volumes"][-1]["secret"]
        files = [f"--from-file={HERE / name}" for name in ("load.py", "ask.py")]
        self.cluster.kubectl("create", "configmap", "load", *files)
        pod = (HERE / "load.yaml").read_text(encoding="utf-8").replace("SECRET", secret["secretName"])
        self.cluster.kubectl("apply", "-f", "-", stdin=pod)
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/load", "--timeout=120s")

    @contextmanager
    def load(self, folder: str) -> Iterator[None]:
        """Run the clients during the body of the context; they write their records to a folder of their pod."""
        program = f"nohup python /load/load.py {folder} >/tmp/load.log 2>&1 &"
        self.cluster.kubectl("exec", "load", "--", "sh", "-c", program)
        try:
            yield
        finally:
            stop = f"touch {folder}/stop; while ! [ -e {folder}/stopped ]; do sleep 0.2; done"
            self.cluster.kubectl("exec", "load", "--", "sh", "-c", stop)

    def read_records(self, folder: str) -> tuple[list[evidence.Answer], list[evidence.Observation]]:
        """Read the records of the clients so far."""
        read = ["exec", "load", "--", "sh", "-c"]
        answers = self.cluster.kubectl(*read, f"cat {folder}/answers.*")
        return evidence.answers(answers), evidence.observations(self.cluster.kubectl(*read, f"cat {folder}/models"))

    def run_phases(self) -> None:
        """Restart, scale, delete pods and train, all under load."""
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
            cluster.wait("empty spools", lambda: cluster.pending() == 0)
        with self.phase("training over HTTP"):
            self.trained(lambda: self.check("message" in cluster.ask("POST", "/train"), "`POST /train` trains"))
        with self.phase("a Job trains on recorded sales"):
            self.record_sales()
            self.trained(self.train_by_job)

    def trained(self, train: Callable[[], None]) -> None:
        """Train, and wait until every pod serves the new version."""
        before = self.cluster.ask("GET", "/models")["generation"]
        train()
        self.cluster.wait("new generation in every pod", lambda: min(self.cluster.generations(), default=0) > before)

    def record_sales(self) -> None:
        """Record sales of estimated houses, at about their estimates."""
        answers, _ = self.read_records("/tmp/load")  # noqa: S108  # a folder of a pod
        market = random.Random(1)
        day = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
        sales = [
            {"prediction": answer.id, "price": round(answer.price * market.gauss(1, 0.05), 2), "date": day}
            for answer in [answer for answer in answers if answer.id][-SALES:]
        ]
        self.cluster.ask("POST", "/sales", sales)

    def train_by_job(self) -> None:
        """Train as the CronJob does."""
        self.cluster.apply("test", "-l", "app.kubernetes.io/component=training")
        self.cluster.kubectl("wait", "--for=condition=Complete", "job/housepredict-train", "--timeout=240s")
        logs = self.cluster.kubectl("logs", "job/housepredict-train")
        self.check("Promoted" in logs, f"the Job trains on {SALES} recorded sales, and its version is promoted")

    def judge(self) -> list[evidence.Answer]:
        """Compare the records of the clients with the predictions in PostgreSQL. Returns the responses."""
        answers, observations = self.read_records("/tmp/load")  # noqa: S108  # a folder of a pod
        self.cluster.wait("empty spools", lambda: self.cluster.pending() == 0)
        acknowledged = {answer.id for answer in answers if answer.id}
        lost = acknowledged - self.cluster.rows()
        failed = [answer for answer in answers if answer.failure]
        for answer in failed[:20]:
            report_progress(f"{answer.at:.3f} {answer.failure}")
        self.check(not failed, f"{len(failed)} of {len(answers)} requests failed")
        self.check(not lost, f"{len(lost)} of {len(acknowledged)} acknowledged estimates are missing from PostgreSQL")
        for generation in sorted({observation.generation for observation in observations} - {0}):
            seconds = evidence.convergence(observations, generation)
            took = "never" if seconds is None else f"within {seconds:.2f} s"
            promise = f"generation {generation} reached every pod {took} of its commit"
            self.check(seconds is not None and seconds <= MAX_CONVERGENCE_S, promise)
        return answers

    def durable_spool(self) -> None:
        """Kill all pods during a PostgreSQL outage, and check that their volumes preserve the pending predictions."""
        cluster = self.cluster
        cluster.kubectl("delete", "deployment/housepredict", "--wait=true")
        cluster.settle(0)
        cluster.apply("test-durable", "-l", "app.kubernetes.io/component!=training")
        cluster.settle(2)
        folder = "/tmp/durable"  # noqa: S108  # a folder of a pod
        with self.load(folder):
            time.sleep(2 * SETTLE_S)
            cluster.kubectl("scale", "statefulset/postgres", "--replicas=0")
            cluster.wait("pending predictions", lambda: cluster.pending() > 100)
            pending = cluster.pending()
            cluster.kubectl("delete", "pod", "housepredict-0", "housepredict-1", "--grace-period=0", "--force")
            cluster.settle(2)
            time.sleep(SETTLE_S)
            cluster.kubectl("scale", "statefulset/postgres", "--replicas=1")
            cluster.rollout("statefulset/postgres")
        cluster.wait("empty spools", lambda: cluster.pending() == 0)
        answers, _ = self.read_records(folder)
        acknowledged = {answer.id for answer in answers if answer.id}
        lost = acknowledged - cluster.rows()
        self.check(
            not lost,
            f"with a volume for each spool, both pods were killed at once during a PostgreSQL outage with at least "
            f"{pending} pending estimates: {len(lost)} of {len(acknowledged)} acknowledged estimates are missing",
        )


def main() -> int:
    """Run the test. Returns 0 if every check passed, 1 if one failed, and 2 if the test could not start."""
    parser = argparse.ArgumentParser(prog="kubernetes/test/run", description="Test the manifests on a cluster.")
    parser.add_argument("--keep", action="store_true", help="keep the namespace after the test")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the results to this Markdown file")
    options = parser.parse_args()
    test = Test(Cluster(NAMESPACE))
    try:
        test.cluster.kubectl("get", "namespace", NAMESPACE)
    except CheckFailed:
        pass
    else:
        print(f"the namespace {NAMESPACE} exists; delete it: kubectl delete namespace {NAMESPACE}", file=sys.stderr)
        return 2
    try:
        test.start()
        lab(test)
        pod_security(test)
        service_links(test)
        with test.load("/tmp/load"):  # noqa: S108  # a folder of a pod
            test.run_phases()
        answers, usage = test.judge(), memory(test.cluster)
        test.durable_spool()
        if options.report:
            write_report(options.report, test.cluster, test.phases, test.facts, answers, usage)
    except CheckFailed as error:
        test.check(False, str(error))
    finally:
        if not options.keep:
            report_progress("cleaning up")
            subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--wait=true"], check=False)  # noqa: S607  # as above
    report_progress("all checks passed" if not test.broken else f"{len(test.broken)} failed: " + "; ".join(test.broken))
    return 1 if test.broken else 0


if __name__ == "__main__":
    sys.exit(main())
