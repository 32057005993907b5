"""The environment that the documentation tells its reader to install.

That is what `make run` installs: `requirements/service.lock` and the project. It is made once for each lock and kept in
`build`. A page gets a thin environment on top, so that a page's own installs don't reach other pages.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def reader_environment() -> Path:
    """Return the environment that `make run` makes, after installing it if its lock has changed."""
    lock = ROOT / "requirements/service.lock"
    digest = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    environment = ROOT / "build/docs-environment"
    stamp = environment / "installed"
    if not (stamp.exists() and stamp.read_text() == digest):
        _run("python3", "-m", "venv", "--clear", environment)
        pip = (environment / "bin/python", "-m", "pip", "--disable-pip-version-check", "--quiet", "--retries", "5")
        _run(*pip, "install", "--require-hashes", "--requirement", lock)
        _run(*pip, "install", "--no-deps", "--no-build-isolation", "--editable", ROOT)
        stamp.write_text(digest)
    return environment


def enter_environment(base: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder/.venv` on top of `base`, put it on the PATH, and return its interpreter.

    What a page installs takes the versions of `requirements/dev.lock`, where that has them.
    """
    environment = folder / ".venv"
    _run(base / "bin/python", "-m", "venv", "--without-pip", environment)
    packages = environment / f"lib/python{sysconfig.get_python_version()}/site-packages"
    below = base / packages.relative_to(environment)
    (packages / "below.pth").write_text(f"import site; site.addsitedir({str(below)!r})\n")
    for script in ("housepredict", "pip", "hatchling"):
        text = (base / "bin" / script).read_text(encoding="utf-8")
        (environment / "bin" / script).write_text(text.replace(str(base), str(environment)), encoding="utf-8")
        shutil.copymode(base / "bin" / script, environment / "bin" / script)
    pins = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==\S+", (ROOT / "requirements/dev.lock").read_text(), re.MULTILINE)
    (folder / ".constraints").write_text("\n".join(pins), encoding="utf-8")
    monkeypatch.setenv("PIP_CONSTRAINT", str(folder / ".constraints"))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("VIRTUAL_ENV", str(environment))
    developers = sysconfig.get_path("scripts")
    folders = [each for each in os.environ["PATH"].split(os.pathsep) if each != developers]
    monkeypatch.setenv("PATH", os.pathsep.join([str(environment / "bin"), *folders]))
    return environment / "bin/python"


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\nexited with {done.returncode}:\n{done.stdout}"
