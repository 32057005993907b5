"""An append that goes straight through, until it fails."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from housepredict.domain.errors import RepositoryUnavailable
from housepredict.domain.ports import Appending


@define(eq=False)
class Straight:
    """An Appending of the repository behind, whose failure is told."""

    _begun: Appending
    _failed: Callable[[RepositoryUnavailable], None]

    @property
    def connection(self) -> object:
        """See Appending."""
        return self._begun.connection

    def fileno(self) -> int:
        """See Appending."""
        return self._begun.fileno()

    def is_sent(self) -> bool:
        """See Appending."""
        return self._begun.is_sent()

    def is_done(self) -> bool:
        """See Appending."""
        try:
            return self._begun.is_done()
        except RepositoryUnavailable as error:
            self._failed(error)
            raise
