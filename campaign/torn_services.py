"""Services and commands on data folders with a torn file.

The service must start and report the error. It must serve once an undamaged version is promoted, with all records that
were acknowledged before.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from campaign import sqlite_files
from campaign.services import LONG, Service, ask
from campaign.tears import Places, Tear
from campaign.torn_models import WHOLE, Folder, create_folder
from campaign.trials import Broken, Trial
from tests.postgres_servers import free_port

_STARTS = 20
"""Number of services to start if files are torn at each byte."""
_WAYS = (Tear.CUT, Tear.ZEROS, Tear.NOISE)
_COMMANDS = ("models", "trainings", "predictions")
_HOUSE = {"size": 2500, "bedrooms": 3, "age": 10}


def start(trial: Trial, folder: Path, places: Places) -> None:
    """Start services on folders with a torn file, a different one each time. Raises Broken."""
    template = create_folder(trial, folder / "template" / "data")
    acknowledged = _acknowledged(template)
    for number in range(_STARTS if places.every else 1):
        service = Service(folder / f"torn-{number}", free_port(), options=())
        shutil.copytree(template.data, service.folder / "data")
        torn = _tear_one(trial, Folder(service.folder / "data", template.version, template.artifact), number)
        try:
            for command in _COMMANDS if places.every else [trial.random.choice(_COMMANDS)]:
                _require_clean_end(service, command)
            new = _serve(
                service, template.version.name if torn.is_relative_to(service.folder / "data" / "models") else None
            )
            stored = {record.id for record in sqlite_files.predictions(service.folder / "data")}
            least = acknowledged if torn.suffix != ".sqlite-wal" else set()
            if not least | {new} <= stored <= acknowledged | {new}:
                raise Broken(f"stored: {stored}; acknowledged: {acknowledged | {new}}")
        except BaseException as error:
            error.add_note(f"{torn} was torn")
            shutil.copytree(service.folder, trial.folder / service.name, dirs_exist_ok=True)
            raise
        finally:
            service.destroy()
        trial.counts["services started on a folder with a torn file"] += 1


def _acknowledged(template: Folder) -> set[str]:
    """Return the ids of estimates from a service that is then killed, so that SQLite's logs remain."""
    service = Service(template.data.parent, free_port(), options=())
    service.start()
    try:
        service.wait_until_ready()
        return {ask(service.port, "POST", "/predict", _HOUSE)[1]["id"] for _ in range(3)}
    finally:
        service.destroy()


def _tear_one(trial: Trial, folder: Folder, number: int) -> Path:
    """Tear a file of a data folder. Returns its path."""
    logs = [file for file in folder.data.glob("*.sqlite-wal") if file.stat().st_size]
    files = [*folder.files(), folder.pointer, *(folder.models / "trainings").glob("*.json"), *logs]
    file = files[number % len(files)] if number >= len(files) else trial.random.choice(files)
    content = file.read_bytes()
    way, at = trial.random.choice(_WAYS), trial.random.randrange(len(content) - 1)
    file.write_bytes(way.tear(content, at, trial.random))
    if file.suffix == ".sqlite-wal":
        file.with_suffix(".sqlite-shm").unlink(missing_ok=True)
    return file


def _require_clean_end(service: Service, command: str) -> None:
    """Check that a command on the folder ends without a traceback."""
    line = [sys.executable, "-m", "housepredict", command, "--data-dir", str(service.folder / "data")]
    ended = subprocess.run(line, check=False, capture_output=True, text=True, timeout=LONG)
    if ended.returncode not in (0, 5) or "Traceback" in ended.stderr:
        raise Broken(f"housepredict {command} ended with {ended.returncode}: {ended.stderr}")


def _serve(service: Service, torn: str | None) -> str:
    """Serve the undamaged version. Returns the id of an estimate. `torn` is the version that may be damaged."""
    service.start()
    while (readiness := service.readiness())[0] is None:
        if service.has_ended():
            raise Broken(f"{service.name} does not start, see {service.log}")
    status, document = readiness
    if status != 200 and not (torn and any(word in str(document) for word in ("damaged", "not in", "no model"))):
        raise Broken(f"{service.name} is not ready, for a reason other than the torn file: {document}")
    for path in ("/models", "/trainings", "/predictions"):
        status, document = ask(service.port, "GET", path)
        if status not in (200, 503):
            raise Broken(f"{path} was answered with {status}: {document}")
    status, document = ask(service.port, "POST", f"/models/{WHOLE}/promote")
    if status != 200:
        raise Broken(f"the undamaged version cannot be promoted: {status}, {document}")
    service.wait_until_ready()
    status, document = ask(service.port, "POST", "/predict", _HOUSE)
    if status != 200 or document["model_version"] != WHOLE:
        raise Broken(f"an estimate was answered with {status}, {document}")
    if (code := service.stop()) != 0 or "Traceback" in service.log.read_text():
        raise Broken(f"{service.name} ended with {code}, see {service.log}")
    return str(document["id"])
