"""The training process: its order, its messages, and how the service interprets its exit."""

from __future__ import annotations

import signal
from pathlib import Path
from uuid import UUID

import pytest
from attrs import fields
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.folder.training_log import DirectoryTrainings
from housepredict.adapters.memory import InMemoryModels
from housepredict.adapters.postgres.training_log import PostgresTrainings
from housepredict.domain import errors
from housepredict.domain.evaluation.promotion import PromotionPolicy
from housepredict.domain.features import Kind
from housepredict.domain.training_options import Algorithm, Effort, TrainingOptions
from housepredict.domain.validation import tidy
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.settings import Settings
from housepredict.entrypoints.training_processes import TrainingOrder, TrainingRequest, _describe_exit, _error, _read
from housepredict.testing.drawing import sample_version

SETTINGS = Settings(
    Path("/data"),
    database_url="postgresql://me:p%40ss@there/db",
    database_direct_url="postgresql://direct",
    database_schema="ml",
    models="folder",
    predictor="theirs",
    demo=True,
    host="::1",
    port=1,
    token="t" * 16,
    signing_key=(b"\x00" * 32, b"\xff" * 40),
    spool_rows=2,
    max_batch=3,
    max_body=4,
    max_upload=5,
    max_waiting=6,
    workers=7,
    max_connections=8,
    client_timeout=9.5,
    idle_timeout=10.5,
    drain=11.5,
    cors_origins=("https://shop.example",),
    keep=12,
    log_level="debug",
    log_format="json",
    access_log="all",
    tracing=True,
)
_columns = st.text(st.characters(exclude_characters="\0")).filter(tidy)
_options = st.builds(
    TrainingOptions,
    price=st.none() | _columns,
    features=st.lists(_columns).map(tuple),
    kinds=st.dictionaries(_columns, st.sampled_from(Kind)),
    algorithm=st.sampled_from(Algorithm),
    effort=st.sampled_from(Effort),
    seed=st.integers(0, 2**32 - 1),
    time_limit=st.none() | st.floats(0.001, 1e9),
)
_requests = st.builds(
    TrainingRequest, st.none() | st.text(), st.none() | st.text(), _options, st.sampled_from(PromotionPolicy)
)


def test_sample_settings_differ_from_every_default() -> None:
    usual = Settings(Path("/nowhere"))
    assert all(getattr(SETTINGS, each.name) != getattr(usual, each.name) for each in fields(Settings))


@given(_requests, st.dictionaries(st.text(), st.text()))
def test_training_order_is_read_back(request: TrainingRequest, log_fields: dict[str, str]) -> None:
    order = TrainingOrder(SETTINGS, request, log_fields)
    assert TrainingOrder.from_json(order.to_json()) == order


def test_error_of_trainer_is_raised_in_service() -> None:
    error = _error({"error": "UnusableSales", "message": "They are gone."}, "otherwise")
    assert (type(error), str(error)) == (errors.UnusableSales, "They are gone.")
    for training in UUID(int=7), None:
        busy = _error({"error": "TrainingInProgress", "training": training and str(training)}, "otherwise")
        assert isinstance(busy, errors.TrainingInProgress)
        assert busy.training == training


@pytest.mark.parametrize("report", [{}, {"error": "NoSuchError"}, {"error": "Sequence"}, {"error": "InvalidHouses"}])
def test_unknown_error_becomes_training_broken(report: dict[str, str]) -> None:
    error = _error(report, "It ended.")
    assert (type(error), str(error)) == (errors.TrainingBroken, "It ended.")


def test_truncated_line_is_ignored() -> None:
    assert _read(b'{"error": "UnusableSales", "message": "x"}\n') == {"error": "UnusableSales", "message": "x"}
    for line in b"", b'{"error": "Unus':
        assert _read(line) == {}


def test_exit_is_described_by_signal_or_code() -> None:
    assert "SIGKILL" in _describe_exit(-signal.SIGKILL)
    assert "exited with code 7" in _describe_exit(7)
    assert "exited with code -99" in _describe_exit(-99)


@pytest.mark.parametrize(
    ("url", "models", "kind"),
    [
        (None, "database", DirectoryTrainings),
        ("memory:", "database", DirectoryTrainings),
        ("theirs://there", "database", DirectoryTrainings),
        ("postgresql://there/db", "folder", DirectoryTrainings),
        ("postgresql://there/db", "database", PostgresTrainings),
    ],
)
def test_training_log_is_beside_model_store(url: str | None, models: str, kind: type) -> None:
    assert type(Application(Settings(Path("/data"), database_url=url, models=models)).storage.training_log) is kind


def test_version_may_be_demonstration() -> None:
    made = Application(Settings(Path("/data"), demo=True))
    made.storage.model_store = InMemoryModels()
    version, artifact = sample_version("a")
    made.models.add(version, artifact)
    assert made.version("a") == version
    assert made.version("demonstration").source.synthetic
    with pytest.raises(errors.UnknownModel):
        Application(Settings(Path("/nowhere"))).version("demonstration")
