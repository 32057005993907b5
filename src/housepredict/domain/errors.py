"""All errors that housepredict raises deliberately. An error class's docstring is its default message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self
from uuid import UUID

from attrs import evolve

if TYPE_CHECKING:
    from housepredict.domain.validation import Violation


_MAX_DESCRIBED = 20
"""Maximum number of violations listed in an error message. The error's attribute `violations` contains all of them."""


class HousepredictError(Exception):
    """The operation failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class BrokenRules(HousepredictError):
    """The input is invalid."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(describe_some(self.violations)))

    def alone(self) -> Self:
        """Convert an error about a batch with one item to an error about that item.

        The JSON pointers become relative to the item: `/0/size` becomes `/size`.
        """
        return type(self)(
            [evolve(violation, pointer=violation.pointer.removeprefix("/0")) for violation in self.violations]
        )


def describe_some(violations: Sequence[Violation]) -> Sequence[str]:
    """Describe each of the first 20 violations in a line. If there are more, a last line states how many more."""
    more = len(violations) - _MAX_DESCRIBED
    lines = [violation.describe() for violation in violations[:_MAX_DESCRIBED]]
    return [*lines, f"and {more:,} more"] if more > 0 else lines


class InvalidOptions(BrokenRules, ValueError):
    """The training options are invalid."""


class InvalidHouses(BrokenRules):
    """These houses can't be estimated: their features are invalid for this model."""


class InvalidSales(BrokenRules):
    """These sales can't be recorded: their fields are invalid."""


class InvalidSettings(HousepredictError):
    """The settings are invalid."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class UnreadableFile(HousepredictError):
    """The file can't be read as a table or can't be written."""


class UnusableSales(UnreadableFile):
    """No model can be trained on these sales."""


class NoModel(HousepredictError):
    """No model is promoted. Train one (`housepredict train SALES.csv`), promote a stored version (`housepredict models
    promote VERSION`), or turn on the demo model (setting `demo`).
    """


class UnknownModel(HousepredictError):
    """The model store has no version with this name."""


class RefusedModel(HousepredictError):
    """The model version failed a check and was not loaded."""


class NewerModel(RefusedModel):
    """The model version was made by a newer release of housepredict. Upgrade housepredict."""


class NoExplanation(HousepredictError):
    """This model version can't explain its estimates (made by an older release). Retrain to enable explanations."""


class NoSnapshot(HousepredictError):
    """This model version has no training snapshot (made by an older release). Retrain to measure drift."""


class ModelStoreUnavailable(HousepredictError):
    """The model store can't be read or written."""


class UnusableModelDatabase(ModelStoreUnavailable):
    """The model database URL is invalid, or this type of database is not supported."""


class TrainingInProgress(HousepredictError):
    """Another training job is in progress. Try again when it has finished."""

    def __init__(self, message: str | None = None, training: UUID | None = None) -> None:
        self.training = training
        """The id of the training job in progress, or None if it is unknown."""
        super().__init__(message)


class UnknownTraining(HousepredictError):
    """No training job has this id."""


class TrainingEnded(HousepredictError):
    """The training job can't be cancelled: it has ended, or its model version is already being stored."""


class TrainingCancelled(HousepredictError):
    """The training was cancelled."""


class TrainingBroken(HousepredictError):
    """The training process ended before the training was finished."""


class RepositoryUnavailable(HousepredictError):
    """Predictions and sales can't be stored or read at the moment. Try again later."""


class MisconfiguredRepository(RepositoryUnavailable):
    """The prediction repository is misconfigured. Fix its settings; retrying won't help."""


class UnusableDatabase(MisconfiguredRepository):
    """The database URL is invalid, or this type of database is not supported."""


class RefusedPredictions(RepositoryUnavailable):
    """The repository rejected this batch of predictions because its content is invalid. Retrying won't help."""


class UnknownPrediction(HousepredictError):
    """No stored prediction has this id."""


class ErasedSales(HousepredictError):
    """These sales were not stored: their predictions were erased or pruned."""


class ErasedPredictions(HousepredictError):
    """The predictions for this idempotency key were erased and can't be recreated."""


class RepeatedKey(HousepredictError):
    """This idempotency key was already used for a different request. Use a new key."""


class UnusablePlugin(HousepredictError):
    """A plug-in named in the settings is not installed or can't be imported."""


class MissingExtra(HousepredictError):
    """A required extra of housepredict is not installed."""

    @classmethod
    def named(cls, extra: str, purpose: str) -> MissingExtra:
        """Create the error for a missing extra.

        Args:
            extra: the name of the extra, such as `train`.
            purpose: the operation that requires the extra, such as `Training`. The message starts with this text.
        """
        command = f"run pip install '.[{extra}]' in a checkout, or use a container image that includes it"
        return cls(f"{purpose} requires housepredict[{extra}], which is not installed: {command}")


def interrupt_in(error: BaseException) -> KeyboardInterrupt | None:
    """Find the KeyboardInterrupt that led to an error.

    A library that is interrupted may raise an error of its own. Therefore, this function also searches the chain of
    errors that were being handled when the error was raised (`__context__`).

    Returns:
        The KeyboardInterrupt, which may be the error itself. None if no KeyboardInterrupt led to the error.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause
