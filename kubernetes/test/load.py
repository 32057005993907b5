"""Asks for estimates at a steady rate on connections that are kept open, and notes every answer: load.py FOLDER.

It runs inside the cluster, until there is a file FOLDER/stop. Only the standard library is there for sure.

FOLDER/answers.N has a line for each request of client N: when it was answered (seconds), how long it took (ms), and
then the id, the generation and the price; or `failed` and why. FOLDER/models has one for each look at GET /models: when
the look began and ended, the generation, whether all have converged, and how many processes there are.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

SERVICE = "housepredict"
# Seconds between the requests of each client. The busy ones hear at once that a connection closes; the others only if
# the service goes on for a while.
PACES = [0.08] * 8 + [3.0] * 6
RENEW = 250  # requests after which a client begins a new connection, so that new pods get their share
LOOK_EVERY = 0.05  # seconds
PATIENCE = 15  # seconds


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


def look_at_models(folder: Path) -> None:
    """Notes who serves what."""
    connection = HTTPConnection(SERVICE, 80, timeout=PATIENCE)
    with (folder / "models").open("a", buffering=1) as notes:
        while not (folder / "stop").exists():
            began = time.time()
            try:
                connection.request("GET", "/models")
                response = connection.getresponse()
                found = json.loads(response.read())
                if response.status == 200:
                    serving = len(found["processes"])
                    notes.write(
                        f"{began:.3f} {time.time():.3f} {found['generation']} {int(found['converged'])} {serving}\n"
                    )
            except (OSError, HTTPException):  # it is a look; estimates are what must not fail
                connection.close()
            time.sleep(LOOK_EVERY)


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
