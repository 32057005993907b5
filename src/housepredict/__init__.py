"""housepredict estimates what houses sell for, and remembers what it said: begin with `housepredict.open`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names are loaded when they are first used (PEP 562): importing housepredict costs next to nothing.
_HOMES = {
    "open": "housepredict.entrypoints.api",
    "Prices": "housepredict.entrypoints.api",
    "asgi_app": "housepredict.entrypoints.http.app",
    "HousePriceRegressor": "housepredict.adapters.sklearn_model.regressor",
    "Settings": "housepredict.entrypoints.settings",
    "read_settings": "housepredict.entrypoints.settings",
    "TrainingOptions": "housepredict.domain.models",
    "Kind": "housepredict.domain.features",
    "ErasedPredictions": "housepredict.domain.errors",
    "ErasedSales": "housepredict.domain.errors",
    "HousepredictError": "housepredict.domain.errors",
    "InvalidHouses": "housepredict.domain.errors",
    "InvalidSales": "housepredict.domain.errors",
    "InvalidSettings": "housepredict.domain.errors",
    "MissingExtra": "housepredict.domain.errors",
    "NoExplanation": "housepredict.domain.errors",
    "NoModel": "housepredict.domain.errors",
    "NoSnapshot": "housepredict.domain.errors",
    "RefusedModel": "housepredict.domain.errors",
    "RepeatedKey": "housepredict.domain.errors",
    "RepositoryUnavailable": "housepredict.domain.errors",
    "UnknownModel": "housepredict.domain.errors",
    "UnusablePlugin": "housepredict.domain.errors",
    "UnknownPrediction": "housepredict.domain.errors",
    "UnreadableFile": "housepredict.domain.errors",
    "UnusableSales": "housepredict.domain.errors",
}

# What these need comes with extras.
_EXTRAS = {"asgi_app": ("serve", "Serving over HTTP"), "HousePriceRegressor": ("train", "Training")}

__all__ = [
    "ErasedPredictions",
    "ErasedSales",
    "HousePriceRegressor",
    "HousepredictError",
    "InvalidHouses",
    "InvalidSales",
    "InvalidSettings",
    "Kind",
    "MissingExtra",
    "NoExplanation",
    "NoModel",
    "NoSnapshot",
    "Prices",
    "RefusedModel",
    "RepeatedKey",
    "RepositoryUnavailable",
    "Settings",
    "TrainingOptions",
    "UnknownModel",
    "UnknownPrediction",
    "UnreadableFile",
    "UnusablePlugin",
    "UnusableSales",
    "asgi_app",
    "open",
    "read_settings",
]

if TYPE_CHECKING:
    from housepredict.adapters.sklearn_model.regressor import HousePriceRegressor
    from housepredict.domain.errors import (
        ErasedPredictions,
        ErasedSales,
        HousepredictError,
        InvalidHouses,
        InvalidSales,
        InvalidSettings,
        MissingExtra,
        NoExplanation,
        NoModel,
        NoSnapshot,
        RefusedModel,
        RepeatedKey,
        RepositoryUnavailable,
        UnknownModel,
        UnknownPrediction,
        UnreadableFile,
        UnusablePlugin,
        UnusableSales,
    )
    from housepredict.domain.features import Kind
    from housepredict.domain.models import TrainingOptions
    from housepredict.entrypoints.api import Prices, open
    from housepredict.entrypoints.http.app import asgi_app
    from housepredict.entrypoints.settings import Settings, read_settings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'housepredict' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        if name not in _EXTRAS:
            raise
        from housepredict.domain.errors import MissingExtra

        raise MissingExtra.named(*_EXTRAS[name]) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
