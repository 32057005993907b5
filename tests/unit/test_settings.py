"""Settings: read once, every problem reported together, no secret shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.domain.errors import InvalidSettings
from housepredict.entrypoints.settings import IN_MEMORY, PREFIX, REMOVED, read_settings, shown_database, variables

PASSWORD = "p@ss/w:rd?#%"
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).map(str.strip).filter(bool)
BLANK = st.text(st.sampled_from(" \t\r\n"), max_size=3)
KEYS = {
    "HOUSEPREDICT_DATABASE_URL": "postgresql://me:p%40ss@there/houses",
    "HOUSEPREDICT_DATABASE_DIRECT_URL": "postgresql://me:p%40ss@direct/houses",
    "HOUSEPREDICT_DATABASE_SCHEMA": "ml",
    "HOUSEPREDICT_TOKEN": "an-example-of-a-token",
    "HOUSEPREDICT_SIGNING_KEY": "0f" * 32,
}


def test_defaults_are_sqlite_on_loopback_without_demo() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port, settings.demo, settings.database_url) == ("127.0.0.1", 5000, False, None)
    assert settings.data_dir.is_absolute()


def test_data_dir_defaults_to_project_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings({}).data_dir != tmp_path / ".housepredict"
    (tmp_path / ".housepredict").mkdir()
    assert read_settings({}).data_dir == tmp_path / ".housepredict"
    assert read_settings({"HOUSEPREDICT_DATA_DIR": "elsewhere"}).data_dir == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ({"DB_HOST": "db"}, "postgresql://postgres@db:5432/mldata"),
        ({"DB_PORT": "5433"}, "postgresql://postgres@localhost:5433/mldata"),
        ({"DB_NAME": "houses"}, "postgresql://postgres@localhost:5432/houses"),
        ({"DB_USER": "me"}, "postgresql://me@localhost:5432/mldata"),
        ({"DB_PASSWORD": "x"}, "postgresql://postgres:x@localhost:5432/mldata"),
        ({"DB_HOST": "::1"}, "postgresql://postgres@[::1]:5432/mldata"),
    ],
)
def test_lab_variables_select_postgres_with_defaults(variable: dict[str, str], url: str) -> None:
    assert read_settings(variable).database_url == url


@given(user=text, password=text, name=text)
def test_lab_credentials_are_quoted_in_url(user: str, password: str, name: str) -> None:
    url = urlsplit(read_settings({"DB_USER": user, "DB_PASSWORD": password, "DB_NAME": name}).database_url or "")
    assert (unquote(url.username or ""), unquote(url.password or ""), unquote(url.path[1:])) == (user, password, name)


@given(before=BLANK, after=BLANK)
def test_urls_and_secrets_are_stripped(before: str, after: str) -> None:
    padded = {name: f"{before}{value}{after}" for name, value in KEYS.items()}
    assert read_settings(padded) == read_settings(KEYS)
    lab = {"DB_HOST": "db", "DB_PORT": "5433", "DB_NAME": "n", "DB_USER": "u", "DB_PASSWORD": PASSWORD}
    assert read_settings({name: f"{before}{value}{after}" for name, value in lab.items()}) == read_settings(lab)
    given = KEYS["HOUSEPREDICT_DATABASE_URL"]
    assert read_settings({}, database_url=f"{before}{given}{after}").database_url == given


@pytest.mark.parametrize("name", [name for name in KEYS if name != "HOUSEPREDICT_DATABASE_SCHEMA"])
def test_secret_file_is_stripped_of_bom_and_blanks(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"\xef\xbb\xbf " + KEYS[name].encode() + b"\r\n\n")
    others = {key: value for key, value in KEYS.items() if key != name}
    assert read_settings(others | {f"{name}_FILE": f" {file}\n"}) == read_settings(KEYS)


@pytest.mark.parametrize("host", ["[::1]", "::1", " [::1]\n"])
def test_ipv6_host_may_have_brackets(host: str) -> None:
    assert read_settings({"DB_HOST": host}).database_url == "postgresql://postgres@[::1]:5432/mldata"


@pytest.mark.parametrize("host", ["db:5432", "[db]", "postgresql://me:hush@db/houses", "::1]:5432"])
def test_invalid_host_is_rejected_and_hidden(host: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^DB_HOST must be a host name or an IP address") as caught:
        read_settings({"DB_HOST": host})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1", "\u0661"])
def test_invalid_port_is_rejected(port: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^DB_PORT must be a whole number from 1 to 65535"):
        read_settings({"DB_PORT": port})


@pytest.mark.parametrize("url", ["postgresql://u:hu[sh@h/d", "postgresql://u:hush\u2100@h/d", "postgresql://[::1/d"])
def test_url_rejected_by_urllib_is_left_to_driver(url: str) -> None:
    settings = read_settings({"HOUSEPREDICT_DATABASE_URL": url})
    assert settings.postgres_url == url
    assert shown_database(url) == ""


@pytest.mark.parametrize("schema", [" ", "pg_catalog", "x" * 64, "ü" * 32])
def test_invalid_database_schema_is_rejected(schema: str) -> None:
    with pytest.raises(InvalidSettings, match=r"^HOUSEPREDICT_DATABASE_SCHEMA must be a schema name"):
        read_settings({"HOUSEPREDICT_DATABASE_SCHEMA": schema})


def test_database_url_overrides_lab_variables() -> None:
    url = "postgresql://me@there/houses"
    assert read_settings({"DB_HOST": "db", "HOUSEPREDICT_DATABASE_URL": url}).database_url == url


def test_kubernetes_service_variables_are_ignored() -> None:
    environment = {
        "DB_PORT": "tcp://10.0.0.7:5432",
        "DB_PORT_5432_TCP_ADDR": "10.0.0.7",
        "DB_SERVICE_HOST": "10.0.0.7",
        "HOUSEPREDICT_PORT": "tcp://10.0.0.8:80",
        "HOUSEPREDICT_PORT_80_TCP": "tcp://10.0.0.8:80",
        "HOUSEPREDICT_SERVICE_HOST": "10.0.0.8",
        "HOUSEPREDICT_SERVICE_PORT": "80",
        "HOUSEPREDICT_SERVICE_PORT_HTTP": "80",
        "HOUSEPREDICT_PORT_5000_TCP_ADDR": "10.0.0.8",
        "HOUSEPREDICT_PORT_5000_TCP_PORT": "5000",
        "HOUSEPREDICT_PORT_5000_TCP_PROTO": "tcp",
        "HOUSEPREDICT_POSTGRES_SERVICE_HOST": "10.0.0.9",
        "HOUSEPREDICT_POSTGRES_SERVICE_PORT": "5432",
        "HOUSEPREDICT_POSTGRES_PORT": "tcp://10.0.0.9:5432",
        "HOUSEPREDICT_POSTGRES_PORT_5432_TCP": "tcp://10.0.0.9:5432",
        "HOUSEPREDICT_POSTGRES_PORT_5432_TCP_PROTO": "tcp",
    }
    assert read_settings(environment) == read_settings({})


def test_empty_variable_counts_as_unset() -> None:
    assert read_settings({"DB_HOST": "", "HOUSEPREDICT_PORT": ""}) == read_settings({})


def test_problems_are_reported_together_without_values() -> None:
    environment = {
        "HOUSEPREDICT_PORT": "70000",
        "HOUSEPREDICT_DEMO": "maybe",
        "HOUSEPREDICT_TOKEN": "short",
        "HOUSEPREDICT_DATABASE_URL": f"mysql://me:{PASSWORD}@there",
        "HOUSEPREDICT_LOG_LEVEL": "loud",
        "HOUSEPREDICT_MAX_BATCH": "0",
        "HOUSEPREDICT_WORKERS": "65",
        "HOUSEPREDICT_CLIENT_TIMEOUT": "0",
        "HOUSEPREDICT_IDLE_TIMEOUT": "nan",
        "HOUSEPREDICT_DRAIN": "1_0",
        "HOUSEPREDICT_HOTS": "0.0.0.0",
        "DB_PORT": "many",
    }
    with pytest.raises(InvalidSettings) as caught:
        read_settings(environment)
    assert len(caught.value.problems) == len(environment)
    assert all(any(problem.startswith(name) for problem in caught.value.problems) for name in environment)
    assert "did you mean `HOUSEPREDICT_HOST`?" in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert "short" not in str(caught.value)


def test_unknown_setting_without_match_gets_no_suggestion() -> None:
    with pytest.raises(InvalidSettings) as caught:
        read_settings({"HOUSEPREDICT_QQQ": "1"})
    assert caught.value.problems == ("HOUSEPREDICT_QQQ is not a setting",)


@pytest.mark.parametrize("name", REMOVED)
def test_removed_setting_is_ignored_with_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    variable = PREFIX + name.upper()
    for environment, from_the_caller in (({variable: "p@ss"}, None), ({}, "p@ss")):
        caplog.clear()
        assert read_settings(environment, **{name: from_the_caller}) == read_settings({})
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("WARNING", f"{variable} was removed and has no effect: {REMOVED[name]}")
        ]


def test_arguments_override_environment(tmp_path: Path) -> None:
    settings = read_settings({"HOUSEPREDICT_PORT": "1", "HOUSEPREDICT_DEMO": "1"}, port=2, data_dir=tmp_path)
    assert (settings.port, settings.demo, settings.data_dir) == (2, True, tmp_path)


def test_arguments_are_validated() -> None:
    with pytest.raises(InvalidSettings, match="database_url must be a postgresql:// URL"):
        read_settings({}, database_url="mysql://there")


def test_secrets_are_hidden_in_repr() -> None:
    settings = read_settings({"DB_PASSWORD": PASSWORD, "HOUSEPREDICT_TOKEN": "t" * 16})
    assert "t" * 16 not in repr(settings)
    assert "p%40ss" not in repr(settings)


def test_database_url_may_be_memory() -> None:
    assert read_settings({"HOUSEPREDICT_DATABASE_URL": IN_MEMORY}).database_url == IN_MEMORY


KEY, OTHER = bytes(range(32)), bytes(range(40, 80))


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (KEY.hex(), (KEY,)),
        (KEY.hex().upper(), (KEY,)),
        (f"{OTHER.hex()},{KEY.hex()}", (OTHER, KEY)),
        (f" {OTHER.hex()} ,\n{KEY.hex()}\n", (OTHER, KEY)),
    ],
    ids=["one", "capitals", "a comma", "lines"],
)
def test_signing_keys_are_read_from_variable_or_file(tmp_path: Path, text: str, keys: tuple[bytes, ...]) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    for environment in {"HOUSEPREDICT_SIGNING_KEY": text}, {"HOUSEPREDICT_SIGNING_KEY_FILE": str(file)}:
        assert read_settings(environment).signing_key == keys
        assert not any(key.hex() in repr(read_settings(environment)) for key in keys)


@pytest.mark.parametrize(
    "text",
    [
        " ",
        ",",
        KEY.hex()[:-2],
        KEY.hex() + "0",
        f"{KEY.hex()} {OTHER.hex()[:20]}",
        "g" * 64,
        "\u0661" * 64,
        "\xff" * 64,
    ],
)
def test_invalid_signing_key_is_rejected_and_hidden(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-8")
    for name, value in (("HOUSEPREDICT_SIGNING_KEY", text), ("HOUSEPREDICT_SIGNING_KEY_FILE", str(file))):
        with pytest.raises(InvalidSettings, match=f"^{name} must be a key of at least 64 hexadecimal digits") as caught:
            read_settings({name: value})
        assert len(text) < 8 or text[:8] not in str(caught.value)


def test_signing_key_file_empty_or_missing_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name, reason in (
        ("empty", "must be a key of at least 64"),
        ("nosuch", "cannot be read: No such file"),
        (".", "cannot be read"),
    ):
        with pytest.raises(InvalidSettings, match=f"^HOUSEPREDICT_SIGNING_KEY_FILE {reason}"):
            read_settings({"HOUSEPREDICT_SIGNING_KEY_FILE": str(tmp_path / name)})


def test_signing_key_variable_and_file_conflict(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY.hex())
    with pytest.raises(InvalidSettings, match="KEY_FILE must not be set together with HOUSEPREDICT_SIGNING_KEY"):
        read_settings({"HOUSEPREDICT_SIGNING_KEY": KEY.hex(), "HOUSEPREDICT_SIGNING_KEY_FILE": str(file)})


def test_token_is_read_from_variable_or_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("an-example-of-a-token\n")
    settings = read_settings({"HOUSEPREDICT_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.token == "an-example-of-a-token"
    assert "an-example" not in repr(settings)


@pytest.mark.parametrize("text", ["", "short", "with a space in it", "\xe9" * 16, "two-lines-of-a\ntoken-that-is-none"])
def test_invalid_token_is_rejected_and_hidden(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings, match=r"^HOUSEPREDICT_TOKEN_FILE must have at least 16 ASCII") as caught:
        read_settings({"HOUSEPREDICT_TOKEN_FILE": str(tmp_path / "token")})
    assert not text or text not in str(caught.value)


def test_token_file_missing_or_conflicting_is_rejected(tmp_path: Path) -> None:
    file = {"HOUSEPREDICT_TOKEN_FILE": str(tmp_path / "token")}
    with pytest.raises(InvalidSettings, match=r"^HOUSEPREDICT_TOKEN_FILE cannot be read: No such file"):
        read_settings(file)
    (tmp_path / "token").write_text("t" * 16)
    with pytest.raises(InvalidSettings, match=r"TOKEN_FILE must not be set together with HOUSEPREDICT_TOKEN$"):
        read_settings({**file, "HOUSEPREDICT_TOKEN": "t" * 16})


def test_every_setting_has_variable() -> None:
    assert {"HOUSEPREDICT_DATABASE_URL", "HOUSEPREDICT_DEMO", "DB_PASSWORD"} < set(variables())


def test_database_url_is_read_from_variable_or_file(tmp_path: Path) -> None:
    file, url = tmp_path / "url", "postgresql://me:p%40ss@db/houses"
    file.write_text(url + "\n")
    named = {"HOUSEPREDICT_DATABASE_URL_FILE": str(file)}
    assert read_settings(named) == read_settings({"HOUSEPREDICT_DATABASE_URL": url})
    assert read_settings(named | {"DB_HOST": "elsewhere"}).database_url == url
    assert read_settings(named, database_url=IN_MEMORY).database_url == IN_MEMORY
    with pytest.raises(InvalidSettings, match="HOUSEPREDICT_DATABASE_URL_FILE must not be set together with"):
        read_settings(named | {"HOUSEPREDICT_DATABASE_URL": url})


def test_lab_password_is_read_from_variable_or_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}ü\n", encoding="utf-8")
    assert read_settings({"DB_PASSWORD_FILE": str(file)}) == read_settings({"DB_PASSWORD": f"{PASSWORD}ü"})
    for more, message in (
        ({"DB_PASSWORD": PASSWORD}, "DB_PASSWORD_FILE must not be set together with DB_PASSWORD"),
        ({"DB_PASSWORD_FILE": f"{file}.gone"}, "DB_PASSWORD_FILE cannot be read: No such file"),
    ):
        with pytest.raises(InvalidSettings, match=message) as caught:
            read_settings({"DB_PASSWORD_FILE": str(file)} | more)
        assert PASSWORD not in str(caught.value)


def test_database_direct_url_needs_database_url() -> None:
    pool, server = "postgresql://pool/mldata", "postgresql://server/mldata"
    given = {"HOUSEPREDICT_DATABASE_URL": pool, "HOUSEPREDICT_DATABASE_DIRECT_URL": server}
    settings = read_settings(given)
    assert (settings.database_url, settings.database_direct_url) == (pool, server)
    assert server not in repr(settings)
    for wrong in (
        {"HOUSEPREDICT_DATABASE_DIRECT_URL": server},
        given | {"HOUSEPREDICT_DATABASE_URL": "memory:"},
        given | {"HOUSEPREDICT_DATABASE_DIRECT_URL": "memory:"},
    ):
        with pytest.raises(InvalidSettings, match="DATABASE_DIRECT_URL"):
            read_settings(wrong)


@pytest.mark.parametrize("text", ["400", "0d", "20001d", "-1d", "1.5d", "4w", "\u0661d"])
def test_keep_is_a_number_of_days(text: str) -> None:
    assert read_settings({"HOUSEPREDICT_KEEP": "400d"}).keep == 400
    with pytest.raises(InvalidSettings, match="HOUSEPREDICT_KEEP must be a number of days"):
        read_settings({"HOUSEPREDICT_KEEP": text})
