"""The service shuts down in order, in time, and without loss."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore

import pytest

from tests.integration.services import LAB_HOUSE, Answer, Service, get, post, read_answer, running, send, stored

CLIENTS = 8


def request_until_refused(service: Service, answered: Semaphore) -> list[Answer]:
    """Send requests until the service is gone. A connection that closes without a response is retried."""
    answers = []
    while True:
        try:
            with service.connect() as connection, connection.makefile("rb") as stream:
                answer = None
                while answer is None or not answer.closes:
                    connection.sendall(post(LAB_HOUSE))
                    answer = Answer.read(stream)
                    if answer is None:
                        break
                    answers.append(answer)
                    answered.release()
        except ConnectionRefusedError:
            return answers
        except ConnectionError:
            continue


def check_accepted_requests_are_stored(folder: Path, module: str, workers: str, drain: str) -> None:
    answered = Semaphore(0)
    with (
        ThreadPoolExecutor(CLIENTS) as threads,
        running(folder, "--demo", "--workers", workers, module=module, HOUSEPREDICT_DRAIN=drain) as service,
    ):
        clients = [threads.submit(request_until_refused, service, answered) for _ in range(CLIENTS)]
        for _ in range(200):
            assert answered.acquire(timeout=30)
        assert service.stop() == 0
        answers = [answer for client in clients for answer in client.result()]
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.closes for answer in answers) >= CLIENTS, "busy clients are told that it stops"
    assert sorted(answer.document["id"] for answer in answers) == stored(folder)


@pytest.mark.parametrize(("workers", "drain"), [("1", "0"), ("2", "0"), ("2", "0.5")])
def test_shutdown_under_load_stores_exactly_the_acknowledged(tmp_path: Path, workers: str, drain: str) -> None:
    check_accepted_requests_are_stored(tmp_path / "sound", "housepredict", workers, drain)
    with pytest.raises(AssertionError):
        check_accepted_requests_are_stored(tmp_path / "lossy", "campaign.broken lossy", workers, drain)


def test_draining_service_is_not_ready_and_still_serves(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_DRAIN="600") as service, service.connect() as connection:
        assert not send(service, get("/health/ready")).closes
        service.process.send_signal(signal.SIGTERM)
        while (ready := send(service, get("/health/ready"))).status != 503:
            pass
        assert ready.document["status"] == "stopping"
        assert send(service, get("/health/live")).status == 200
        with connection.makefile("rb") as stream:
            connection.sendall(post(LAB_HOUSE))
            answer = Answer.read(stream)
            assert answer
            assert (answer.status, answer.closes) == (200, True)
            assert stream.read() == b""
        service.process.send_signal(signal.SIGTERM)
        assert send(service, post(LAB_HOUSE)).status == 200, "a second SIGTERM forces nothing"
        assert service.stop(signal.SIGINT) == 0


def test_slow_client_does_not_delay_shutdown_past_its_timeout(tmp_path: Path) -> None:
    with running(tmp_path, "--demo", HOUSEPREDICT_CLIENT_TIMEOUT="0.1") as service, service.connect() as connection:
        connection.sendall(post(LAB_HOUSE) + post(LAB_HOUSE)[:-1])
        with connection.makefile("rb") as stream:
            assert read_answer(stream)[0] == 200
            service.process.send_signal(signal.SIGTERM)
            assert read_answer(stream)[0] == 408
        assert service.process.wait(30) == 0
    assert "Cancel" not in service.log.read_text()
