"""`housepredict config`: what is in effect, where it is from, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from housepredict.entrypoints.cli.main import main
from housepredict.entrypoints.cli.service_commands import settings_document, settings_text
from housepredict.entrypoints.settings import SECRETS, settings_and_origins

SECRET = "s3cret-and-long-enough"
KEY = "0123456789abcdef" * 4


def told(environment: dict[str, str], **given: object) -> dict[str, tuple[object, list[str]]]:
    settings, origins = settings_and_origins(environment, **given)
    return {each["setting"]: (each["value"], each["from"]) for each in settings_document(settings, origins)}


def test_each_setting_says_where_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    found = told(
        {
            "HOUSEPREDICT_PORT": "5001",
            "HOUSEPREDICT_HOST": "::1",
            "HOUSEPREDICT_TOKEN_FILE": str(tmp_path / "token"),
            "DB_HOST": "db",
            "DB_PASSWORD": SECRET,
            "OTEL_TRACES_EXPORTER": "otlp",
        },
        host="::",
        workers=2,
    )
    assert found["port"] == (5001, ["HOUSEPREDICT_PORT"])
    assert found["host"] == ("::", ["command line"])
    assert found["workers"] == (2, ["command line"])
    assert found["token"] == ("(hidden)", ["HOUSEPREDICT_TOKEN_FILE"])
    assert found["database_url"] == ("postgresql://db:5432/mldata", ["DB_HOST", "DB_PASSWORD"])
    assert found["tracing"] == (True, ["OTEL_TRACES_EXPORTER"])
    assert found["demo"] == (False, ["default"])
    assert found["signing_key"] == (None, ["default"])


def test_a_url_of_ones_own_is_where_the_database_is_from() -> None:
    url = f"postgresql://me:{SECRET}@there/houses?sslpassword={SECRET}"
    found = told({"DB_HOST": "db", "HOUSEPREDICT_DATABASE_URL": url})
    assert found["database_url"] == ("postgresql://there/houses", ["HOUSEPREDICT_DATABASE_URL"])


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@db/houses",
        f"postgresql://me:x@{SECRET}@db/houses",
        f"postgresql://me:x/{SECRET}@db/houses",
        f"postgresql://me:x?{SECRET}@db/houses",
        f"postgresql://me:x#{SECRET}@db/houses",
        f"postgresql://me@db/houses?password={SECRET}",
        f"postgresql://me@db/houses#{SECRET}",
    ],
)
def test_no_secret_is_shown(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = {"DATABASE_URL": url, "DATABASE_DIRECT_URL": url, "TOKEN": SECRET, "SIGNING_KEY": KEY}
    assert set(secrets) == {each.upper() for each in SECRETS}
    for name, value in secrets.items():
        monkeypatch.setenv(f"HOUSEPREDICT_{name}", value)
    for more in (), ("--json",):
        assert main(["config", "--data-dir", str(tmp_path), *more]) == 0
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert KEY not in shown
    assert str(tmp_path) in shown
    assert json.loads(shown[shown.index("{") :])["settings"]


def test_what_is_said_of_clients_is_told_as_it_is_set() -> None:
    given = {"HOUSEPREDICT_CORS_ORIGINS": "https://a.example https://b.example"}
    settings, origins = settings_and_origins(given)
    document = json.loads(json.dumps(settings_document(settings, origins)))
    values = {each["setting"]: each["value"] for each in document}
    assert values["cors_origins"] == ["https://a.example", "https://b.example"]
    assert "https://a.example, https://b.example " in settings_text(settings_document(settings, origins))


def test_it_is_a_table_to_read() -> None:
    settings, origins = settings_and_origins({"HOUSEPREDICT_DEMO": "1"})
    lines = [line.split() for line in settings_text(settings_document(settings, origins)).splitlines()]
    assert ["demo", "1", "HOUSEPREDICT_DEMO"] in lines
    assert ["token", "none", "default"] in lines
    assert ["cors_origins", "none", "default"] in lines
    assert ["client_timeout", "15", "default"] in lines


@pytest.mark.parametrize(
    ("environment", "tracing"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://there"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://there"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://there", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_SERVICE_NAME": "houses"}, False),
    ],
)
def test_traces_are_wanted_where_opentelemetrys_variables_say_so(environment: dict[str, str], tracing: bool) -> None:
    assert settings_and_origins(environment)[0].tracing is tracing
