"""Lists of predictions read during an outage that ends before the response is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from attrs import define, field

from housepredict.adapters.sqlite.spool_file import SqliteSpool
from housepredict.domain.estimates import Prediction
from tests.doubles import a_batch
from tests.http_service import application, lab_version, served
from tests.integration.spools import SOON, Behind, spooled


@define
class DrainedDuringRead(SqliteSpool):
    """A spool that is drained during a read."""

    meanwhile: Callable[[], object] | None = field(default=None, init=False)

    def recent(self, limit: int, before: UUID | None = None) -> Sequence[Prediction]:
        rows = super().recent(limit, before)
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return rows


def test_partial_list_is_marked_although_database_recovered(tmp_path: Path) -> None:
    stored, waiting = a_batch(2)
    way, made = Behind(), application(lab_version())
    with spooled(tmp_path / "spool.sqlite", way, DrainedDuringRead) as predictions:
        assert predictions.drained(SOON)
        predictions.append([stored])
        way.down = True
        predictions.append([waiting])

        def recover() -> None:
            way.down = False
            assert predictions.drained(SOON)

        predictions._spool.meanwhile = recover  # type: ignore[attr-defined]
        made.storage.predictions = predictions
        with served(made) as client:
            partial = client.get("/predictions").json()
            complete = client.get("/predictions").json()
    assert [each["id"] for each in partial["predictions"]] == [str(waiting.id)]
    assert partial["spool"]["database"] == "unavailable"
    assert [each["id"] for each in complete["predictions"]] == [str(waiting.id), str(stored.id)]
    assert "spool" not in complete
