"""Importing and using housepredict loads only what is needed. Each check runs in a new process."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import housepredict

HEAVY = {
    "sklearn",
    "scipy",
    "joblib",
    "psycopg",
    "psycopg_pool",
    "starlette",
    "uvicorn",
    "pyarrow",
    "rich",
    "shtab",
    "narwhals",
    "chardet",
}
HOUSE = '{"size": 2500, "bedrooms": 3, "age": 10}'


def loaded_by(code: str, folder: Path) -> set[str]:
    """Return the packages that a program has loaded when it ends."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    (folder / ".housepredict").mkdir(exist_ok=True)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_package_import_loads_no_dependencies(tmp_path: Path) -> None:
    assert loaded_by("import housepredict", tmp_path) & (HEAVY | {"numpy", "attrs", "cattrs"}) == set()


def test_domain_import_loads_only_attrs(tmp_path: Path) -> None:
    code = "import housepredict.domain.usecases, housepredict.domain.ports, housepredict.domain.errors"
    always = loaded_by("", tmp_path)
    assert loaded_by(code, tmp_path) - always - sys.stdlib_module_names == {"housepredict", "attr", "attrs"}


def test_utf8_file_does_not_load_chardet(tmp_path: Path) -> None:
    code = "from housepredict.adapters.files.delimited import detect; detect([bytes({!r}, {!r})])"
    assert "chardet" not in loaded_by(code.format("Málaga", "utf-8"), tmp_path)
    assert "chardet" in loaded_by(code.format("Málaga", "cp1252"), tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        f"import housepredict\nwith housepredict.open('data', demo=True) as prices: prices.predict({HOUSE})",
        'import housepredict.entrypoints.cli.main as c; c.main("predict --demo size=9 bedrooms=3 age=1".split())',
    ],
    ids=["python", "command line"],
)
def test_predicting_loads_no_heavy_packages(tmp_path: Path, code: str) -> None:
    assert loaded_by(code, tmp_path) & HEAVY == set()


def test_commands_without_estimates_load_no_numpy(tmp_path: Path) -> None:
    code = 'import housepredict.entrypoints.serve, housepredict.entrypoints.cli.main as c; c.main(["models"])'
    assert "numpy" not in loaded_by(code, tmp_path)


def test_serving_loads_no_scikit_learn(tmp_path: Path) -> None:
    code = """
import asyncio, housepredict, housepredict.entrypoints.serve
app = housepredict.asgi_app(housepredict.read_settings({}, data_dir="data", demo=True))
async def start():
    async with app.router.lifespan_context(app): pass
asyncio.run(start())
"""
    assert loaded_by(code, tmp_path) & (HEAVY - {"starlette", "uvicorn"}) == set()


def test_training_loads_scikit_learn(tmp_path: Path) -> None:
    code = "import housepredict\nwith housepredict.open('data') as prices: prices.train(None)"
    assert {"sklearn", "joblib"} <= loaded_by(code, tmp_path)


@pytest.mark.parametrize("name", housepredict.__all__)
def test_public_name_can_be_imported(name: str) -> None:
    assert getattr(housepredict, name) is not None
    assert name in dir(housepredict)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = housepredict.nonsense


def test_type_checking_imports_match_lazy_imports() -> None:
    imports = [
        each for each in ast.walk(ast.parse(inspect.getsource(housepredict))) if isinstance(each, ast.ImportFrom)
    ]
    found = {name.asname: each.module for each in imports for name in each.names if name.asname}
    assert found == housepredict._HOMES | {"__version__": "housepredict.version"}
