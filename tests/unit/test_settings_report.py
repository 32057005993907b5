"""`housepredict config`: the effective settings and their origins, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from housepredict.entrypoints.cli.main import main
from housepredict.entrypoints.cli.service_commands import settings_document, settings_text
from housepredict.entrypoints.settings import SECRETS, settings_and_origins

SECRET = "s3cret-and-long-enough"
KEY = "0123456789abcdef" * 4


def report(environment: dict[str, str], **given: object) -> dict[str, tuple[object, list[str]]]:
    settings, origins = settings_and_origins(environment, **given)
    return {each["setting"]: (each["value"], each["from"]) for each in settings_document(settings, origins)}


def test_settings_report_their_origins(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET)
    values = report(
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
    assert values["port"] == (5001, ["HOUSEPREDICT_PORT"])
    assert values["host"] == ("::", ["command line"])
    assert values["workers"] == (2, ["command line"])
    assert values["token"] == ("(hidden)", ["HOUSEPREDICT_TOKEN_FILE"])
    assert values["database_url"] == ("postgresql://db:5432/mldata", ["DB_HOST", "DB_PASSWORD"])
    assert values["tracing"] == (True, ["OTEL_TRACES_EXPORTER"])
    assert values["demo"] == (False, ["default"])
    assert values["signing_key"] == (None, ["default"])


def test_database_url_is_reported_as_origin() -> None:
    url = f"postgresql://me:{SECRET}@there/houses?sslpassword={SECRET}"
    values = report({"DB_HOST": "db", "HOUSEPREDICT_DATABASE_URL": url})
    assert values["database_url"] == ("postgresql://there/houses", ["HOUSEPREDICT_DATABASE_URL"])


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
def test_config_shows_no_secret(
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


def test_cors_origins_are_reported_as_list() -> None:
    given = {"HOUSEPREDICT_CORS_ORIGINS": "https://a.example https://b.example"}
    settings, origins = settings_and_origins(given)
    document = json.loads(json.dumps(settings_document(settings, origins)))
    values = {each["setting"]: each["value"] for each in document}
    assert values["cors_origins"] == ["https://a.example", "https://b.example"]
    assert "https://a.example, https://b.example " in settings_text(settings_document(settings, origins))


def test_settings_text_is_a_table() -> None:
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
def test_tracing_follows_opentelemetry_variables(environment: dict[str, str], tracing: bool) -> None:
    assert settings_and_origins(environment)[0].tracing is tracing
