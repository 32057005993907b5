"""Access to every write route over HTTP, with and without a token, from every kind of client."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from housepredict.entrypoints.http.routes.route_table import ROUTES
from tests.http_service import FakeTrainer, application, assert_problem, lab_version, served, trainable

TOKEN = "an-example-of-a-token"
PUBLIC = {
    ("POST", "/predict"),
    ("POST", "/v2/models/{name}/infer"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
}
READING = {"GET", "HEAD", "OPTIONS"}
WRITING = sorted({(method, route.path) for route in ROUTES for method in (route.methods or set()) - READING} - PUBLIC)
PRIVATE = [("GET", "/trainings"), ("GET", "/trainings/{id}")]
"""Read routes that reveal file names."""
AUTHORIZATIONS: dict[str, dict[str, str]] = {
    "no token": {},
    "wrong token": {"Authorization": "Bearer no-example-of-any"},
    "valid token": {"Authorization": f"Bearer {TOKEN}"},
}
CLIENTS: dict[str, tuple[str, dict[str, str]]] = {
    "loopback": ("127.0.0.1", {}),
    "remote": ("203.0.113.7", {}),
    "other host name": ("127.0.0.1", {"Host": "prices.example"}),
    "other origin": ("127.0.0.1", {"Origin": "https://evil.example"}),
    "cross-site": ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}),
}


def test_write_routes_are_known() -> None:
    assert {("POST", "/train"), ("DELETE", "/trainings/{id}"), ("DELETE", "/predictions/{id}")} <= set(WRITING)


@pytest.mark.parametrize("client_kind", CLIENTS)
@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "standalone"])
@pytest.mark.parametrize("configured", [True, False], ids=["with a token", "without a token"])
@pytest.mark.parametrize(("method", "path"), [*WRITING, *PRIVATE])
def test_write_routes_need_a_token_or_a_loopback_client(
    method: str, path: str, configured: bool, embedded: bool, client_kind: str
) -> None:
    peer, headers = CLIENTS[client_kind]
    app = trainable(application(lab_version(), token=TOKEN if configured else None), FakeTrainer())
    address = re.sub(r"\{\w+(:\w+)?\}", str(UUID(int=0)), path)
    with served(app, embedded=embedded, peer=peer) as client:
        for name, authorization in AUTHORIZATIONS.items():
            answer = client.request(method, address, headers={"Host": "localhost:5000", **headers, **authorization})
            allowed = name == "valid token" if configured else not embedded and client_kind == "loopback"
            if allowed:
                assert answer.status_code not in (401, 403), name
            elif configured:
                assert_problem(answer, 401, "unauthorized")
            else:
                assert_problem(answer, 403, "forbidden")
    trained = bool(app.storage.training_log.recent(1))
    assert trained == (
        (method, path) == ("POST", "/train") and (configured or (not embedded and client_kind == "loopback"))
    )
