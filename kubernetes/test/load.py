"""Requests estimates at a steady rate over keep-alive connections, and records every response: load.py FOLDER.

It runs inside the cluster until the file FOLDER/stop exists. It uses only the standard library.

FOLDER/answers.N has a line for each request of client N: the time of the response (s), the latency (ms), and then
the id, the generation and the price; or `failed` and the error. FOLDER/models has a line for each observation of the
models: its start and end (s), the promoted generation, and the lowest generation that any worker serves.
"""

from __future__ import annotations

import json
import random
import re
import socket
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

SERVICE = "housepredict"
PODS = "load-pods", 5000  # resolves to the address of every pod of the service, see load.yaml
# Seconds between the requests of each client. Busy clients learn at once that a connection closes; idle ones only if
# the pod keeps serving for a while.
PACES = [0.08] * 8 + [3.0] * 6
REQUESTS_PER_CONNECTION = 250  # Clients reconnect, so that new pods get their share.
OBSERVE_EVERY_S = 0.1
TIMEOUT_S = 15
OBSERVE_TIMEOUT_S = 2  # The name of a stopped pod may still resolve.


def request_estimates(seed: int, pace: float, folder: Path) -> None:
    """Run one client.

    After a response with `Connection: close`, http.client reconnects. Every other error counts as failed, on a new
    connection too.
    """
    houses = random.Random(seed)
    connection = HTTPConnection(SERVICE, 80, timeout=TIMEOUT_S)
    sent = 0
    with (folder / f"answers.{seed}").open("a", buffering=1) as records:
        due = time.time()
        while not (folder / "stop").exists():
            house = {
                "size": houses.randint(800, 4000),
                "bedrooms": houses.randint(1, 5),
                "age": houses.randint(0, 50),
            }
            began = time.time()
            try:
                connection.request("POST", "/predict", json.dumps(house), {"Content-Type": "application/json"})
                response = connection.getresponse()
                body = response.read()
                answered = time.time()
                if response.status != 200:
                    raise HTTPException(f"{response.status} {body[:200]!r}")
                answer = json.loads(body)
                took = 1000 * (answered - began)
                records.write(
                    f"{answered:.3f} {took:.1f} {answer['id']} {answer['generation']} {answer['prediction']}\n"
                )
            except (OSError, HTTPException) as error:
                connection.close()
                records.write(f"{time.time():.3f} {1000 * (time.time() - began):.1f} failed {error!r} after {sent}\n")
            sent += 1
            if sent % REQUESTS_PER_CONNECTION == 0:
                connection.close()
            due = max(due + pace, time.time() - pace)
            time.sleep(max(0.0, due - time.time()))


def generations(metrics: str) -> list[int]:
    """Parse the generation that each worker serves from the text of GET /metrics."""
    values = re.findall(r"^housepredict_model_generation\{.*\} (\S+)$", metrics, re.MULTILINE)
    return [int(float(value)) for value in values]


def observe_models(folder: Path) -> None:
    """Record the promoted generation, and the lowest that any worker serves, until the test stops."""
    with (folder / "models").open("a", buffering=1) as records:
        while not (folder / "stop").exists():
            began = time.time()
            try:
                promoted = json.loads(_get(SERVICE, 80, "/models"))["generation"]
                pods = {address[4][0] for address in socket.getaddrinfo(*PODS, type=socket.SOCK_STREAM)}
                served = [generation for pod in pods for generation in generations(_get(str(pod), PODS[1], "/metrics"))]
                records.write(f"{began:.3f} {time.time():.3f} {promoted} {min(served, default=0)}\n")
            except (OSError, HTTPException):  # Only estimates must never fail.
                pass
            time.sleep(OBSERVE_EVERY_S)


def _get(host: str, port: int, path: str) -> str:
    connection = HTTPConnection(host, port, timeout=OBSERVE_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise HTTPException(f"{response.status} {body[:200]}")
    return body


def main() -> None:
    """Run the clients until FOLDER/stop exists."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    threads = [threading.Thread(target=request_estimates, args=(seed, pace, folder)) for seed, pace in enumerate(PACES)]
    threads.append(threading.Thread(target=observe_models, args=(folder,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder / "stopped").touch()


if __name__ == "__main__":
    main()
