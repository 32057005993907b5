"""Plugins of other packages: selection by settings, lazy import and error messages."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

import housepredict
from housepredict.domain.errors import InvalidSettings, UnusablePlugin
from housepredict.entrypoints.cli.main import main
from housepredict.entrypoints.composition import Application
from housepredict.entrypoints.plugins import PREDICTORS, REPOSITORIES, installed, load
from housepredict.entrypoints.settings import IN_MEMORY, Settings, read_settings
from tests.factories import a_linear_form, sample_version
from tests.http_service import LAB_HOUSE
from tests.plugins import write_metadata

PLUGIN_SOURCE = """
    from contextlib import contextmanager
    from housepredict.adapters.memory import InMemoryPredictions
    from housepredict.adapters.serving.loader import load_predictor

    opened, closed, loaded = [], [], []

    @contextmanager
    def open_(url):
        opened.append(url)
        yield InMemoryPredictions()
        closed.append(url)

    def load(version, artifact):
        loaded.append(version.name)
        return load_predictor(version, artifact)

    number = 1
"""


@pytest.fixture
def plugin_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a package with working and broken plugins. Returns the name of its module."""
    module = f"theirs_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / "installed"
    folder.mkdir()
    (folder / f"{module}.py").write_text(dedent(PLUGIN_SOURCE), encoding="utf-8")
    (folder / f"{module}_broken.py").write_text("import no_such_module", encoding="utf-8")
    write_metadata(
        folder,
        "theirs",
        {
            REPOSITORIES: {"theirs": f"{module}:open_", "broken": f"{module}_broken:open_", "twice": f"{module}:open_"},
            PREDICTORS: {"watched": f"{module}:load", "number": f"{module}:number", "typo": f"{module}:laod"},
        },
    )
    write_metadata(folder, "others", {REPOSITORIES: {"twice": f"{module}:open_"}})
    monkeypatch.syspath_prepend(folder)
    return module


def test_repository_is_chosen_by_url_scheme(plugin_module: str, tmp_path: Path) -> None:
    with housepredict.open(tmp_path, database_url="theirs://there/here", demo=True, environment={}) as prices:
        assert plugin_module not in sys.modules
        made = prices.predict(LAB_HOUSE)
        assert list(prices.predictions()) == [made]
        assert prices.record_sale(made.id, 250000, "2025-06-02").prediction == made
        assert sys.modules[plugin_module].opened == ["theirs://there/here"]
        assert sys.modules[plugin_module].closed == []
    assert sys.modules[plugin_module].closed == ["theirs://there/here"]
    # All other data stays in the data folder.
    assert (tmp_path / "sales.sqlite").exists()
    assert not (tmp_path / "predictions.sqlite").exists()


def test_unused_plugins_are_not_imported(plugin_module: str, tmp_path: Path) -> None:
    with housepredict.open(tmp_path, database_url="theirs://", demo=True, environment={}) as prices:
        prices.predict(LAB_HOUSE)
    assert f"{plugin_module}_broken" not in sys.modules


@pytest.mark.usefixtures("plugin_module")
def test_unknown_scheme_error_lists_known_schemes() -> None:
    with pytest.raises(InvalidSettings, match=r"broken://, theirs://, twice://") as caught:
        read_settings({"HOUSEPREDICT_DATABASE_URL": "duckdb://me:secret@there"})
    assert "secret" not in str(caught.value)


def test_unknown_names_without_plugins_are_reported() -> None:
    with pytest.raises(InvalidSettings, match="none is installed") as caught:
        read_settings({"HOUSEPREDICT_DATABASE_URL": "duckdb://there", "HOUSEPREDICT_PREDICTOR": "watched"})
    assert len(caught.value.problems) == 2


@pytest.mark.usefixtures("plugin_module")
def test_unknown_predictor_error_lists_installed() -> None:
    with pytest.raises(InvalidSettings, match=r"HOUSEPREDICT_PREDICTOR .* \(number, typo, watched\)"):
        read_settings({"HOUSEPREDICT_PREDICTOR": "wached"})


def test_chosen_predictor_loads_versions(plugin_module: str, tmp_path: Path) -> None:
    version, artifact = sample_version(a_linear_form())
    with Application(Settings(tmp_path)) as application:
        application.models.add(version, artifact)
        application.models.promote(version.name)
    settings = read_settings({"HOUSEPREDICT_PREDICTOR": "watched"}, data_dir=tmp_path, database_url=IN_MEMORY)
    with Application(settings) as application:
        assert plugin_module not in sys.modules
        assert application.live_model.current().version == version
        assert application.promote(version.name) == version
        assert application.predict.one(LAB_HOUSE).price > 0
    assert sys.modules[plugin_module].loaded == [version.name] * 2


@pytest.mark.usefixtures("plugin_module")
@pytest.mark.parametrize(
    ("group", "name", "reason"),
    [
        (
            REPOSITORIES,
            "broken",
            r"plug-in broken of housepredict\.repositories, in the package theirs, .*no_such_module",
        ),
        (REPOSITORIES, "twice", "in several packages \\(others and theirs\\)"),
        (REPOSITORIES, "nowhere", "plug-in nowhere of .* is not installed"),
        (PREDICTORS, "number", "plug-in number .* is not callable"),
        (PREDICTORS, "typo", "plug-in typo .* in the package theirs, cannot be imported: .*laod"),
    ],
)
def test_unusable_plugin_error_names_package(group: str, name: str, reason: str) -> None:
    with pytest.raises(UnusablePlugin, match=reason):
        load(group, name)


@pytest.mark.usefixtures("plugin_module")
def test_cli_reports_broken_plugin_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOUSEPREDICT_DATABASE_URL", "broken://there")
    monkeypatch.setenv("HOUSEPREDICT_DATA_DIR", str(tmp_path))
    assert main(["predictions"]) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("housepredict: the plug-in broken of housepredict.repositories, in the package theirs, ")


@pytest.mark.usefixtures("plugin_module")
def test_broken_predictor_is_reported_on_first_use(tmp_path: Path) -> None:
    with Application(Settings(tmp_path, predictor="typo", demo=True)) as application:
        with pytest.raises(UnusablePlugin, match="typo"):
            application.live_model.current()
        with pytest.raises(UnusablePlugin, match="typo"):
            application.promote("any")


def test_installed_plugins_are_listed_by_group(plugin_module: str) -> None:
    assert plugin_module
    assert list(installed(PREDICTORS)) == ["number", "typo", "watched"]
    assert list(installed("housepredict.nothing")) == []
