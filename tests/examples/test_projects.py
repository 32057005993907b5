"""The example projects: the tests of each, run as its own users would, in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.integration.services import environment
from tests.plugins import write_project_metadata

# what they write need not outlive the test, and is synced to a disk hundreds of times
IN_MEMORY = Path("/dev/shm")
ROOT = Path(__file__).parents[2]
PROJECTS = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))


@pytest.mark.parametrize("project", PROJECTS, ids=lambda project: project.name)
def test_the_tests_of_an_example_pass(project: Path, tmp_path: Path) -> None:
    write_project_metadata(tmp_path / "installed", project)
    write_project_metadata(tmp_path / "installed", ROOT)  # which has the plug-in for pytest
    path = [str(tmp_path / "installed"), str(project / "src"), os.environ.get("PYTHONPATH", "")]
    with TemporaryDirectory(dir=IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None) as written:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={written}/tests"],
            cwd=project,
            env=environment(
                PYTHONPATH=os.pathsep.join(filter(None, path)),
                PYTHONDONTWRITEBYTECODE="1",
                HYPOTHESIS_STORAGE_DIRECTORY=f"{written}/hypothesis",
            ),
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout + run.stderr


def test_there_are_examples() -> None:
    assert {project.name for project in PROJECTS} >= {"housepredict-lmdb", "shop-tests"}
