"""Torn documents in the folder of model versions, and checks of how the product handles them.

A version with a torn file must be refused while another one continues to serve. A torn pointer must never point to
another version. A torn record of a training must be skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from attrs import evolve, frozen

from campaign.services import LONG
from campaign.tears import Places, Tear
from campaign.trials import Broken, Trial
from housepredict.adapters.folder.model_store import DirectoryModels
from housepredict.adapters.folder.training_log import DirectoryTrainings
from housepredict.adapters.live_model import LiveModel
from housepredict.adapters.serving.loader import load_predictor
from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.errors import HousepredictError, RefusedModel, UnknownTraining
from housepredict.domain.models import Artifact, ModelVersion, Verdict
from housepredict.domain.ports import InService
from housepredict.domain.training_status import TrainingOutcome, TrainingStatus
from housepredict.domain.usecases.train import Promote
from housepredict.testing.doubles import NOON

WHOLE = "20250601-120000-00000000"
"""The name of the undamaged version."""
_FULLY_CHECKED_SHARE = 0.2
"""Share of positions at which more than the refusal is checked, if a version is torn at each byte."""
RESERVE_BYTES = 8 * 1024 * 1024
"""Size of a spool's reserve file."""


@frozen
class Folder:
    """A data folder with two model versions. The one to tear is promoted; the other was promoted before."""

    data: Path
    version: ModelVersion
    artifact: Artifact

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def store(self) -> DirectoryModels:
        return DirectoryModels(self.models)

    @property
    def pointer(self) -> Path:
        return self.models / "promoted"

    def files(self) -> list[Path]:
        """Return the files of the version to tear."""
        return sorted((self.models / "versions" / self.version.name).iterdir())


def create_folder(trial: Trial, data: Path) -> Folder:
    """Copy a data folder with a trained version. The original is created once per trial."""
    template = trial.folder / "template"
    if not template.exists():
        _create_template(template)
    shutil.copytree(template, data)
    store = DirectoryModels(data / "models")
    return Folder(data, *store.get(store.pointer().name or ""))


def _create_template(data: Path) -> None:
    command = [sys.executable, "-m", "housepredict", "train", "--synthetic", "--data-dir", str(data)]
    subprocess.run(command, check=True, capture_output=True, timeout=LONG)
    store = DirectoryModels(data / "models")
    [version] = store.versions()
    version, artifact = store.get(version.name)
    store.add(evolve(version, name=WHOLE), artifact)
    store.promote(WHOLE)
    store.promote(version.name)


def tear_version(trial: Trial, folder: Path, places: Places) -> None:
    """Tear each file of a version. Raises Broken."""
    torn = create_folder(trial, folder / "data")
    store, name = torn.store, torn.version.name
    whole = InService(load_predictor(*store.get(WHOLE)))
    promote = Promote(load_predictor, store)

    def check() -> None:
        _require_refusal(RefusedModel, lambda: store.get(name))
        if places.every and trial.random.random() > _FULLY_CHECKED_SHARE:
            return
        if WHOLE not in [version.name for version in store.versions()]:
            raise Broken("the undamaged version is not listed")
        _require_refusal(RefusedModel, lambda: promote(name))
        _require_refusal(RefusedModel, LiveModel(store, load_predictor).current)
        live = LiveModel(store, load_predictor, serving=whole)
        if live.current() != whole or not live.refusal:
            raise Broken(f"{live.serving} is in service, with the refusal {live.refusal}")
        store.add(torn.version, torn.artifact)
        if store.get(name) != (torn.version, torn.artifact):
            raise Broken("a torn version was not replaced when it was added again")

    _while_torn(trial, torn.files(), check, places)


def tear_pointer(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the pointer. Raises Broken."""
    torn = create_folder(trial, folder / "data")
    store, name = torn.store, torn.version.name
    promote = Promote(load_predictor, store)

    def check() -> None:
        live = LiveModel(store, load_predictor)
        try:
            served = live.current().version.name
        except HousepredictError as error:
            _require_reason(error)
        else:
            if served != name or set(store.history()) - {name, WHOLE}:
                raise Broken(f"{served} is in service, and the history is {store.history()}")
        promote(WHOLE)
        live.look()
        if live.current().version.name != WHOLE or store.pointer().name != WHOLE:
            raise Broken(f"after another promotion, {live.serving} is in service and {store.pointer()} is promoted")

    _while_torn(trial, [torn.pointer], check, places)


def tear_records(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the records of trainings. Raises Broken."""
    log = DirectoryTrainings(folder / "trainings")
    record, torn_record = TrainingStatus(UUID(int=1), NOON, None), TrainingStatus(UUID(int=2), NOON, "/sales.csv")
    log.begin(record)
    log.begin(torn_record)
    outcome = TrainingOutcome.success("a", Verdict(promoted=True, reasons=("It is the first.",)))
    log.change(torn_record.id, lambda record: record.ended(NOON, outcome))

    def check_log() -> None:
        if (listed := log.recent(10)) != [record]:
            raise Broken(f"of two trainings, one of them torn, these are listed: {listed}")
        _require_refusal(UnknownTraining, lambda: log.get(torn_record.id))
        log.begin(torn_record)
        if log.recent(10) != [torn_record, record]:
            raise Broken("a new training is not listed")

    _while_torn(trial, [log.path / f"{torn_record.id}.json"], check_log, places, label="record of a training")


def tear_reserve(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the reserve file of a spool at some positions; its content is zeros. Raises Broken."""
    file, reserve = folder / "spool.sqlite", folder / "spool.reserve"
    with SqliteSpool.open(file) as spool:
        spool.append([])

    def check() -> None:
        with SqliteSpool.open(file) as spool:
            spool.check()
        if (size := reserve.stat().st_size) != RESERVE_BYTES:
            raise Broken(f"the spool accepts predictions with a reserve of {size} bytes")

    _while_torn(trial, [reserve], check, Places(places.random, every=False), ways=(Tear.CUT,))


def _while_torn(
    trial: Trial,
    files: Sequence[Path],
    check: Callable[[], None],
    places: Places,
    *,
    ways: Sequence[Tear] = (Tear.CUT, Tear.ZEROS, Tear.NOISE),
    label: str | None = None,
) -> None:
    """Tear each file at each position in each way, call `check`, and restore the file."""
    for file in files:
        content = file.read_bytes()
        for way in ways:
            for at in (places.of if way is Tear.CUT else places.some)(len(content) - 1):
                torn = way.tear(content, at, trial.random)
                if torn == content:
                    continue
                file.write_bytes(torn)
                try:
                    check()
                except Exception as error:
                    error.add_note(f"{file.name} of {len(content)} bytes was torn at byte {at}: {way}")
                    raise
                file.write_bytes(content)
                trial.counts[f"{label or file.name} torn, {way}"] += 1


def _require_refusal(kind: type[HousepredictError], act: Callable[[], object]) -> None:
    try:
        result = act()
    except kind as error:
        _require_reason(error)
    else:
        raise Broken(f"a torn file is not refused: {result}")


def _require_reason(error: HousepredictError) -> None:
    """Check that the message says what is damaged or missing."""
    if not any(word in str(error) for word in ("damaged", "There is no")):
        raise Broken(f"a torn file is refused with: {error}")
