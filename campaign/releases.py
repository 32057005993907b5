"""`python -m campaign.releases COMMIT`: build the wheel of any commit, to verify it or to run it next to this checkout.

Releases are recorded in `releases.json`, oldest first. Builds are reproducible, byte for byte, with the same version of
zlib: building a recorded commit proves that the released wheel was built from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from attrs import field, frozen
from packaging.requirements import Requirement

from campaign.trials import Unavailable

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build/campaign/releases"
LOCK = "requirements/service.lock"


@frozen
class Recorded:
    """A release, and the digest of its wheel."""

    version: str
    commit: str
    sha256: str
    """The digest of the wheel, in hexadecimal."""


RECORDED = tuple(Recorded(**each) for each in json.loads(Path(__file__).with_name("releases.json").read_text()))
PREVIOUS = RECORDED[-1].commit
"""The commit of the release that upgrades start from and rollbacks return to."""


@frozen
class Release:
    """A release that can be run."""

    name: str
    command: tuple[str, ...]
    """The command that runs housepredict, without arguments."""
    variables: Mapping[str, str] = field(factory=dict)
    """Environment variables that the command needs."""

    def run(self, *arguments: str, **variables: str) -> str:
        """Run a command, and return its standard output. Raises CalledProcessError with its standard error."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOUSEPREDICT_", "DB_"))}
        return _run(*self.command, *arguments, environment=clean | dict(self.variables) | variables)


THIS = Release("this release", (sys.executable, "-m", "housepredict"))
"""This checkout, including uncommitted changes."""


def previous() -> Release:
    """Build and install the previous release. Raises Unavailable."""
    return install(PREVIOUS, "the previous release")


def install(commit: str, name: str, folder: Path | None = None) -> Release:
    """Build and install a commit, with the requirements that it locks. Raises Unavailable.

    It uses this environment if that has exactly the locked requirements, and a new virtual environment otherwise.
    """
    commit = _resolve(commit)
    folder = folder or FOLDER / commit
    python = _environment(commit)
    wheel = next(folder.glob("*.whl"), None) or build(commit, folder)
    site = folder / "site"
    if not site.exists():
        temporary = Path(tempfile.mkdtemp(prefix="site-", dir=folder))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(temporary)
        temporary.rename(site)
    # PYTHONPATH precedes site-packages and an editable installation there. Training processes inherit it.
    release = Release(name, (python, "-m", "housepredict"), {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"})
    show = "import housepredict; print(housepredict.__file__)"
    imported = _run(python, "-c", show, environment={**os.environ, **release.variables})
    assert Path(imported.strip()).is_relative_to(site), f"{imported.strip()} is imported instead of {site}"
    return release


def build(commit: str, folder: Path) -> Path:
    """Build the wheel of a commit into a folder, with the commit's own backend. Raises Unavailable."""
    commit = _resolve(commit)
    python = _environment(commit)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct", commit)}
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as scratch:
        source, output = Path(scratch, "source"), Path(scratch, "wheel")
        _export(commit, source)
        _run(python, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(output), cwd=source,
             environment=environment)  # fmt: skip
        [wheel] = output.glob("*.whl")
        return wheel.replace(folder / wheel.name)


def sha256(wheel: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _export(commit: str, folder: Path) -> None:
    """Write the files of a commit with their committed line endings, even if git is configured to convert them."""
    archive = folder.with_suffix(".tar")
    _git("-c", "core.autocrlf=false", "-c", "core.eol=lf", "archive", "--format=tar", f"--output={archive}", commit)
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")


def _environment(commit: str) -> str:
    """Return a Python with the requirements that a commit locks. Raises Unavailable if they can't be installed."""
    lock = _git("show", f"{commit}:{LOCK}")
    if all(_is_installed(requirement) for requirement in _requirements(lock)):
        return sys.executable
    folder = FOLDER / f"environment-{hashlib.sha256(lock.encode()).hexdigest()[:16]}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        (folder / "lock").write_text(lock)
        install = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--retries", "5", "install")
        try:
            _run(str(python), *install, "--require-hashes", "--requirement", str(folder / "lock"))
        except subprocess.CalledProcessError as error:
            raise Unavailable(
                f"the requirements of commit {commit} cannot be installed: {error.stderr[-500:]}"
            ) from error
        complete.touch()
    return str(python)


def _requirements(lock: str) -> Iterator[Requirement]:
    """Yield the requirements of a lock file for this platform."""
    for line in lock.splitlines():
        if line and not line.startswith(("#", " ")):
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate():
                yield requirement


def _is_installed(requirement: Requirement) -> bool:
    try:
        return version(requirement.name) in requirement.specifier
    except PackageNotFoundError:
        return False


def _resolve(commit: str) -> str:
    """Return the full hash of a commit. Raises Unavailable if this clone doesn't have it."""
    try:
        return _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        reason = f"commit {commit} is not here: this needs git, and a clone with history (`git fetch --unshallow`)"
        raise Unavailable(reason) from error


def _git(*arguments: str) -> str:
    return _run("git", "-C", str(ROOT), *arguments).strip()


def _run(*command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    try:
        ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=environment)
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
    return ended.stdout


def main() -> int:
    """Build a wheel. Returns 0 if its digest is as expected."""
    parser = argparse.ArgumentParser(prog="python -m campaign.releases", description=__doc__.splitlines()[0])
    parser.add_argument("commit", metavar="COMMIT", help="a commit of this repository")
    parser.add_argument(
        "--sha256", metavar="DIGEST", help="expected digest of the wheel (default: that in releases.json)"
    )
    parser.add_argument("--into", metavar="FOLDER", type=Path, help="folder for the wheel, instead of build")
    options = parser.parse_args()
    try:
        commit = _resolve(options.commit)
        wheel = build(commit, options.into or FOLDER / commit)
    except Unavailable as reason:
        parser.exit(1, f"error: {reason}\n")
    expected = options.sha256 or next((release.sha256 for release in RECORDED if release.commit == commit), None)
    digest = sha256(wheel)
    if expected and digest != expected.lower():
        wheel.unlink()
        tools = f"It was built with Python {python_version()} and zlib {zlib.ZLIB_RUNTIME_VERSION}."
        parser.exit(1, f"error: the wheel of {commit} has the SHA-256 {digest}, not {expected}. {tools}\n")
    print(f"{digest}  {wheel}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
