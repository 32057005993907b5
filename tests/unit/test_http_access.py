"""Who may write over HTTP: every route that does, asked in every way."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from housepredict.entrypoints.http.routes.route_table import ROUTES
from tests.http_service import FakeTrainer, application, assert_problem, lab_version, served, trainable

TOKEN = "an-example-of-a-token"
OPEN_TO_ALL = {
    ("POST", "/predict"),
    ("POST", "/v2/models/{name}/infer"),
    ("POST", "/v2/models/{name}/versions/{version}/infer"),
}
READING = {"GET", "HEAD", "OPTIONS"}
WRITING = sorted(
    {(method, route.path) for route in ROUTES for method in (route.methods or set()) - READING} - OPEN_TO_ALL
)
PRIVATE = [("GET", "/trainings"), ("GET", "/trainings/{id}")]
"""These write nothing, and tell of files."""
BEARING: dict[str, dict[str, str]] = {
    "no token": {},
    "a wrong one": {"Authorization": "Bearer no-example-of-any"},
    "it": {"Authorization": f"Bearer {TOKEN}"},
}
COMING: dict[str, tuple[str, dict[str, str]]] = {
    "from here": ("127.0.0.1", {}),
    "from elsewhere": ("203.0.113.7", {}),
    "under a foreign name": ("127.0.0.1", {"Host": "prices.example"}),
    "from a foreign page": ("127.0.0.1", {"Origin": "https://evil.example"}),
    "from another site": ("127.0.0.1", {"Sec-Fetch-Site": "cross-site"}),
}


def test_there_is_something_to_protect() -> None:
    assert {("POST", "/train"), ("DELETE", "/trainings/{id}"), ("DELETE", "/predictions/{id}")} <= set(WRITING)


@pytest.mark.parametrize("coming", COMING)
@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "alone"])
@pytest.mark.parametrize("configured", [True, False], ids=["with a token", "without"])
@pytest.mark.parametrize(("method", "path"), [*WRITING, *PRIVATE])
def test_it_is_open_to_whoever_bears_the_token_or_without_one_to_programs_here(
    method: str, path: str, configured: bool, embedded: bool, coming: str
) -> None:
    peer, headers = COMING[coming]
    made = trainable(application(lab_version(), token=TOKEN if configured else None), FakeTrainer())
    address = re.sub(r"\{\w+(:\w+)?\}", str(UUID(int=0)), path)
    with served(made, embedded=embedded, peer=peer) as client:
        for said, bearing in BEARING.items():
            answer = client.request(method, address, headers={"Host": "localhost:5000", **headers, **bearing})
            allowed = said == "it" if configured else not embedded and coming == "from here"
            if allowed:
                assert answer.status_code not in (401, 403), said
            elif configured:
                assert_problem(answer, 401, "unauthorized")
            else:
                assert_problem(answer, 403, "forbidden")
    trained = bool(made.storage.training_log.recent(1))
    assert trained == (
        (method, path) == ("POST", "/train") and (configured or (not embedded and coming == "from here"))
    )
