"""Asks for estimates at a steady rate on connections that are kept open, and notes every answer: load.py FOLDER.

It runs inside the cluster, until there is a file FOLDER/stop. Only the standard library is there for sure.

FOLDER/answers.N has a line for each request of client N: when it was answered (seconds), how long it took (ms), and
then the id, the generation and the price; or `failed` and why. FOLDER/models has one for each look at the models: when
the look began and ended, the generation of the promotion, and the lowest generation that a worker serves.
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
PODS = "load-pods", 5000  # each pod of the service by its own address, see load.yaml
# Seconds between the requests of each client. The busy ones hear at once that a connection closes; the others only if
# the service goes on for a while.
PACES = [0.08] * 8 + [3.0] * 6
RENEW = 250  # requests after which a client begins a new connection, so that new pods get their share
LOOK_EVERY = 0.1  # seconds
PATIENCE = 15  # seconds
LOOK_PATIENCE = 2  # seconds; a pod that has stopped may still have its name


def ask_for_estimates(seed: int, pace: float, folder: Path) -> None:
    """One client.

    A connection that the service says it closes is opened anew, as http.client does. Whatever else goes wrong is a
    failure, on a fresh connection or not.
    """
    houses = random.Random(seed)
    connection = HTTPConnection(SERVICE, 80, timeout=PATIENCE)
    asked = 0
    with (folder / f"answers.{seed}").open("a", buffering=1) as notes:
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
                notes.write(f"{answered:.3f} {took:.1f} {answer['id']} {answer['generation']} {answer['prediction']}\n")
            except (OSError, HTTPException) as error:
                connection.close()
                notes.write(f"{time.time():.3f} {1000 * (time.time() - began):.1f} failed {error!r} after {asked}\n")
            asked += 1
            if asked % RENEW == 0:
                connection.close()
            due = max(due + pace, time.time() - pace)
            time.sleep(max(0.0, due - time.time()))


def generations(metrics: str) -> list[int]:
    """The generation that each worker serves, of the answer to GET /metrics."""
    return [
        int(float(each)) for each in re.findall(r"^housepredict_model_generation\{.*\} (\S+)$", metrics, re.MULTILINE)
    ]


def look_at_models(folder: Path) -> None:
    """Note which generation is promoted, and the lowest that a pod serves."""
    with (folder / "models").open("a", buffering=1) as notes:
        while not (folder / "stop").exists():
            began = time.time()
            try:
                promoted = json.loads(_get(SERVICE, 80, "/models"))["generation"]
                pods = {address[4][0] for address in socket.getaddrinfo(*PODS, type=socket.SOCK_STREAM)}
                served = [each for pod in pods for each in generations(_get(str(pod), PODS[1], "/metrics"))]
                notes.write(f"{began:.3f} {time.time():.3f} {promoted} {min(served, default=0)}\n")
            except (OSError, HTTPException):  # it is a look; estimates are what must not fail
                pass
            time.sleep(LOOK_EVERY)


def _get(host: str, port: int, path: str) -> str:
    connection = HTTPConnection(host, port, timeout=LOOK_PATIENCE)
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
    """Run until told to stop."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    threads = [threading.Thread(target=ask_for_estimates, args=(each, pace, folder)) for each, pace in enumerate(PACES)]
    threads.append(threading.Thread(target=look_at_models, args=(folder,)))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    (folder / "stopped").touch()


if __name__ == "__main__":
    main()
