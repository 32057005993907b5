"""Plug-ins: adapters of other packages, found by their entry points, and imported if the settings name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from housepredict.domain.errors import UnusablePlugin

REPOSITORIES = "housepredict.repositories"
"""Entry points of this group are RepositoryOpeners, by the scheme of the URLs that they open."""

PREDICTORS = "housepredict.predictors"
"""Entry points of this group are PredictorLoaders."""


def installed(group: str) -> Sequence[str]:
    """The names of the plug-ins of a group."""
    from importlib.metadata import entry_points  # which takes some milliseconds, and few have plug-ins

    return sorted(entry_points(group=group).names)


def load(group: str, name: str) -> Callable[..., Any]:
    """What a plug-in's entry point stands for. Raises UnusablePlugin, which names it."""
    from importlib.metadata import entry_points

    found = tuple(entry_points(group=group, name=name))
    packages = " and ".join(sorted(each.dist.name for each in found if each.dist))
    if len(found) != 1:
        reason = f"is in several packages, {packages}: uninstall all but one" if found else "is not installed"
        raise UnusablePlugin(f"the plug-in {name} of {group} {reason}")
    try:
        made = found[0].load()
    except Exception as error:  # an import runs whatever the package holds
        raise UnusablePlugin(
            f"the plug-in {name} of {group}, in the package {packages}, cannot be imported: {error!r}"
        ) from error
    if not callable(made):
        raise UnusablePlugin(f"the plug-in {name} of {group}, in the package {packages}, is nothing that can be called")
    return made  # type: ignore[no-any-return]  # what it returns is for the port to say
