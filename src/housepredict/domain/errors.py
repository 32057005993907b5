"""Every error that housepredict raises on purpose: one tree, whose docstrings are the default messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self
from uuid import UUID

from attrs import evolve

if TYPE_CHECKING:
    from housepredict.domain.validation import Violation


_DESCRIBED = 20
"""How many violations a message describes; the error has all of them."""


class HousepredictError(Exception):
    """housepredict could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class BrokenRules(HousepredictError):
    """What was given breaks rules."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(describe_some(self.violations)))

    def alone(self) -> Self:
        """The error of the only item of a batch: pointers start at the item, `/size` for `/0/size`."""
        return type(self)([evolve(each, pointer=each.pointer.removeprefix("/0")) for each in self.violations])


def describe_some(violations: Sequence[Violation]) -> Sequence[str]:
    """Describe the first violations, and count the others."""
    more = len(violations) - _DESCRIBED
    lines = [violation.describe() for violation in violations[:_DESCRIBED]]
    return [*lines, f"and {more:,} more"] if more > 0 else lines


class InvalidOptions(BrokenRules, ValueError):
    """Options of a training that cannot be read."""


class InvalidHouses(BrokenRules):
    """What was given does not describe a house that this model can estimate."""


class InvalidSales(BrokenRules):
    """What was given does not say what houses sold for that were estimated."""


class InvalidSettings(HousepredictError):
    """The settings contradict themselves or cannot be read."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class UnreadableFile(HousepredictError):
    """A file cannot be read as a table, or not be written."""


class UnusableSales(UnreadableFile):
    """No model can be trained on these sales."""


class NoModel(HousepredictError):
    """No model is promoted yet: train one with `housepredict train SALES.csv --price COLUMN`, promote a stored version
    with `housepredict models promote VERSION`, or try the demonstration model with `--demo` (HOUSEPREDICT_DEMO=1).
    """


class UnknownModel(HousepredictError):
    """The store has no such model version."""


class RefusedModel(HousepredictError):
    """A model version failed a check and was not loaded."""


class NewerModel(RefusedModel):
    """A model version was made by a newer release of housepredict: upgrade housepredict."""


class NoExplanation(HousepredictError):
    """This model version cannot say what moved its estimates: it was trained before versions could. Train again."""


class NoSnapshot(HousepredictError):
    """This model version does not say what it was trained on: it was trained before versions did. Train again."""


class ModelStoreUnavailable(HousepredictError):
    """The model store cannot be read or written."""


class UnusableModelDatabase(ModelStoreUnavailable):
    """The database of model versions is named wrongly, or of a kind that cannot be used."""


class TrainingInProgress(HousepredictError):
    """A model is being trained already: try again when it is done."""

    def __init__(self, message: str | None = None, training: UUID | None = None) -> None:
        self.training = training
        """The id of the one that is under way, where it is known."""
        super().__init__(message)


class UnknownTraining(HousepredictError):
    """The log has no such training."""


class TrainingEnded(HousepredictError):
    """The training has ended, or is keeping its version: it is too late to cancel it."""


class TrainingCancelled(HousepredictError):
    """The training was cancelled."""


class TrainingBroken(HousepredictError):
    """The process that trained has ended before the training had."""


class RepositoryUnavailable(HousepredictError):
    """Predictions or sales cannot be recorded or read at the moment."""


class MisconfiguredRepository(RepositoryUnavailable):
    """Where predictions are to be recorded was set up wrongly: waiting will not help."""


class UnusableDatabase(MisconfiguredRepository):
    """The database is named wrongly, or of a kind that cannot be used: another one has to be named."""


class RefusedPredictions(RepositoryUnavailable):
    """A batch that the repository will not take, however often it is tried: something in it is to blame."""


class UnknownPrediction(HousepredictError):
    """No prediction of this id is remembered."""


class ErasedSales(HousepredictError):
    """These sales are not stored: their predictions were erased or pruned."""


class ErasedPredictions(HousepredictError):
    """Predictions that were made for this key were erased, and are not made again."""


class RepeatedKey(HousepredictError):
    """This idempotency key came with something else before: a new request needs a new key."""


class UnusablePlugin(HousepredictError):
    """A plug-in that the settings name is not installed, or cannot be imported."""


class MissingExtra(HousepredictError):
    """A part of housepredict that this needs is not installed."""

    @classmethod
    def named(cls, extra: str, purpose: str) -> MissingExtra:
        """The error for an extra of the package, e.g. `train`, that `purpose` needs."""
        needed = f"pip install '.[{extra}]' in a checkout, or take a container image that has it"
        return cls(f"{purpose} needs housepredict[{extra}], which is not installed: {needed}")


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """The KeyboardInterrupt that an error is or has in its context: libraries may raise other errors after one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause
