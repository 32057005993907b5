"""Documents of the folder of model versions that were torn, and what the product makes of them.

A torn file of a version makes that version refused, and another one goes on to serve. A torn pointer never leads to
another version. A torn record of a training is left out.
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
"""The version that stays whole."""
_SHARE = 0.2
"""Of the places in a file of a version, at which more than its refusal is looked at where it is every byte."""
RESERVE = 8 * 1024 * 1024
"""Bytes of a spool's reserve."""


@frozen
class Folder:
    """A data folder with two model versions. The torn one is promoted, and the other one was promoted before."""

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
        """Those of the version to tear."""
        return sorted((self.models / "versions" / self.version.name).iterdir())


def made(trial: Trial, data: Path) -> Folder:
    """A folder that the product has made, with a version that it has trained: a copy of one for the whole trial."""
    template = trial.folder / "made"
    if not template.exists():
        _make(template)
    shutil.copytree(template, data)
    store = DirectoryModels(data / "models")
    return Folder(data, *store.get(store.pointer().name or ""))


def _make(data: Path) -> None:
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
    has = made(trial, folder / "data")
    store, name = has.store, has.version.name
    whole = InService(load_predictor(*store.get(WHOLE)))
    promote = Promote(load_predictor, store)

    def check() -> None:
        _require_refusal(RefusedModel, lambda: store.get(name))
        if places.every and trial.random.random() > _SHARE:
            return
        if WHOLE not in [each.name for each in store.versions()]:
            raise Broken("the whole version is not listed")
        _require_refusal(RefusedModel, lambda: promote(name))
        _require_refusal(RefusedModel, LiveModel(store, load_predictor).current)
        live = LiveModel(store, load_predictor, serving=whole)
        if live.current() != whole or not live.refusal:
            raise Broken(f"{live.serving} is in service, and refused is {live.refusal}")
        store.add(has.version, has.artifact)
        if store.get(name) != (has.version, has.artifact):
            raise Broken("a torn version that was added again is not what was added")

    _while_torn(trial, has.files(), check, places)


def tear_pointer(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the pointer. Raises Broken."""
    has = made(trial, folder / "data")
    store, name = has.store, has.version.name
    promote = Promote(load_predictor, store)

    def check() -> None:
        live = LiveModel(store, load_predictor)
        try:
            served = live.current().version.name
        except HousepredictError as error:
            _require_words(error)
        else:
            if served != name or set(store.history()) - {name, WHOLE}:
                raise Broken(f"{served} is in service, of {store.history()}")
        promote(WHOLE)
        live.look()
        if live.current().version.name != WHOLE or store.pointer().name != WHOLE:
            raise Broken(f"{live.serving} is in service after another promotion, {store.pointer()} is promoted")

    _while_torn(trial, [has.pointer], check, places)


def tear_records(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the records of trainings. Raises Broken."""
    log = DirectoryTrainings(folder / "trainings")
    record, torn = TrainingStatus(UUID(int=1), NOON, None), TrainingStatus(UUID(int=2), NOON, "/sales.csv")
    log.begin(record)
    log.begin(torn)
    outcome = TrainingOutcome.success("a", Verdict(promoted=True, reasons=("It is the first.",)))
    log.change(torn.id, lambda record: record.ended(NOON, outcome))

    def check_log() -> None:
        if (told := log.recent(10)) != [record]:
            raise Broken(f"of two trainings, one torn, these are told of: {told}")
        _require_refusal(UnknownTraining, lambda: log.get(torn.id))
        log.begin(torn)
        if log.recent(10) != [torn, record]:
            raise Broken("a training is not told of that begins")

    _while_torn(trial, [log.path / f"{torn.id}.json"], check_log, places, label="record of a training")


def tear_reserve(trial: Trial, folder: Path, places: Places) -> None:
    """Tear the reserve of a spool at some bytes: all of them are zeros. Raises Broken."""
    file, reserve = folder / "spool.sqlite", folder / "spool.reserve"
    with SqliteSpool.open(file) as spool:
        spool.append([])

    def check() -> None:
        with SqliteSpool.open(file) as spool:
            spool.check()
        if (size := reserve.stat().st_size) != RESERVE:
            raise Broken(f"the spool takes predictions with a reserve of {size} bytes")

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
    """Check something while one of the files is torn, for each place and way. Then it is whole again."""
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
        came = act()
    except kind as error:
        _require_words(error)
    else:
        raise Broken(f"what is torn is not refused: {came}")


def _require_words(error: HousepredictError) -> None:
    """What is damaged, or is not there, is named."""
    if not any(word in str(error) for word in ("damaged", "There is no")):
        raise Broken(f"a torn file is refused with: {error}")
