"""The settings in effect as people are told of them: without the secrets among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields

from housepredict.entrypoints.setting_values import IN_MEMORY, scheme_of, shown_database
from housepredict.entrypoints.settings import SECRETS, Settings
from housepredict.entrypoints.terminal import table

_HIDDEN = "(hidden)"
_NAMES = {"given": "command line"}

Origins = Mapping[str, Sequence[str]]


def settings_document(settings: Settings, origins: Origins) -> list[dict[str, Any]]:
    """Each setting with its value, None where there is none, and where that is from; see settings_and_origins."""
    return [
        {
            "setting": each.name,
            "value": _shown(each.name, getattr(settings, each.name)),
            "from": [_NAMES.get(origin, origin) for origin in origins.get(each.name, ())] or ["default"],
        }
        for each in fields(Settings)
    ]


def settings_text(settings: Settings, origins: Origins) -> str:
    """The same as a table."""
    rows = [
        (each["setting"], _written(each["value"]), ", ".join(each["from"]))
        for each in settings_document(settings, origins)
    ]
    return table(("setting", "value", "from"), rows)


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS and value and value != IN_MEMORY:
        return f"{scheme_of(value)}://{shown_database(value) or _HIDDEN}" if name.endswith("_url") else _HIDDEN
    if isinstance(value, tuple):
        return list(value) or None
    return str(value) if isinstance(value, Path) else value


def _written(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "1" if value else "0"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(value)
    return str(value)
