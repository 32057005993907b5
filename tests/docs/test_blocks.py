"""What the documentation shows is what happens."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.docs.blocks import NOT_RUN, Page, expect
from tests.docs.environment import ROOT, enter_environment, reader_environment

TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
}
ON_POSTGRES = "docs/how-to/use-postgresql.md"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="session")
def environment() -> Path:
    return reader_environment()


@pytest.fixture
def page(environment: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A folder as a checkout is after `make run`, and an environment that says nothing."""
    (tmp_path / ".housepredict").mkdir()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith(("HOUSEPREDICT_", "DB_"))]:
        monkeypatch.delenv(name)
    python = enter_environment(environment, tmp_path, monkeypatch)
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(Path(__file__).with_name("stand_ins"))]))
    # curl shows its progress where its output is no terminal
    (tmp_path / ".curlrc").write_text("silent\nshow-error\n")
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    return Page(monkeypatch, python, trained)


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if "\n```" in text])
def test_the_blocks_of_a_page_run_and_say_what_it_shows(name: str, page: Page, request: pytest.FixtureRequest) -> None:
    if name == ON_POSTGRES:
        page.stand_ins = _settings_of(request.getfixturevalue("postgres"))
    page.run(ROOT / name)


@pytest.mark.parametrize(
    ("name", "reason"), [(name, reason) for name, text in TEXTS.items() for reason in NOT_RUN.findall(text)]
)
def test_a_block_that_nothing_can_run_here_says_why(name: str, reason: str) -> None:
    pytest.skip(f"{name}: {reason}")


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md", ON_POSTGRES, "docs/reference/http.md"])
def test_the_pages_that_show_most_are_among_those_that_run(name: str) -> None:
    assert len(re.findall(r"^```(?:sh|console|python)$", TEXTS[name], re.MULTILINE)) > 1


@pytest.mark.parametrize(
    ("shown", "said"),
    [("a", "b"), ("a", "a\nb"), ("a…c", "a\nc"), ("a\n…\nd", "a\nb\nc"), ("1.5", "105")],
)
def test_output_that_is_not_as_shown_fails(shown: str, said: str) -> None:
    with pytest.raises(AssertionError, match="expected"):
        expect(shown, said)


@pytest.mark.parametrize(("shown", "said"), [("a…c", "abc"), ("a...\n", "a  \n"), ("a\n…\nd", "a\nb\nc\nd")])
def test_output_that_is_as_shown_passes(shown: str, said: str) -> None:
    expect(shown, said)


BROKEN = {
    "output": "```console\n$ echo one\ntwo\n```\n",
    "exit code": "```console\n$ false\n```\n",
    "print": "```python\nprint(1)  # 2\n```\n",
    "exception": "```python\n1 / 0\n```\n",
    "json": '```console\n$ echo \'{"a": 1, "b": 2}\'\n```\n\n```json\n{"a": 1}\n```\n',
    "no command": "```console\nhousepredict models\n```\n",
    "target": "```console\n$ make coffee\n```\n",
    "line": "```sh\nfalse\n```\n",
    "text": "```sh\necho one \\\n  two\necho 'three\n  four'\n```\n\n```text\none two\n```\n",
    "developers' package": "```python\nimport pytest\n```\n",
    "developers' command": "```sh\nlint-imports --help\n```\n",
    "open quote": "```sh\necho 'one\n```\n",
    "language": "```cobol\nSTOP RUN.\n```\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_page_that_is_not_true_fails(text: str, page: Page, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError):
        page.run(path)


def _settings_of(conninfo: str) -> Mapping[str, str]:
    """The settings that name a database."""
    given = {key: str(value) for key, value in conninfo_to_dict(conninfo).items()}
    user, password, host = (quote(given.get(key, ""), safe="") for key in ("user", "password", "host"))
    port = given.get("port", "5432")
    return {
        "DB_HOST": given["host"],
        "DB_PORT": port,
        "DB_NAME": given["dbname"],
        "DB_USER": given["user"],
        "DB_PASSWORD": given.get("password", ""),
        "HOUSEPREDICT_DATABASE_URL": f"postgresql://{user}:{password}@{host}:{port}/{given['dbname']}",
    }
