"""Plug-ins: adapters of other packages, found by their entry points, and imported if the settings name them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from housepredict.domain.errors import UnusablePlugin

REPOSITORIES = "housepredict.repositories"
"""The group of entry points that are RepositoryOpeners, named by the scheme of the URLs that they open."""

PREDICTORS = "housepredict.predictors"
"""The group of entry points that are PredictorLoaders."""


def installed(group: str) -> Sequence[str]:
    """The names of the plug-ins of a group."""
    from importlib.metadata import entry_points  # which takes some milliseconds, and few have plug-ins

    return sorted(entry_points(group=group).names)


def load(group: str, name: str) -> Callable[..., Any]:
    """Import a plug-in. Raises UnusablePlugin, which names the plug-in and its package."""
    from importlib.metadata import entry_points

    points = tuple(entry_points(group=group, name=name))
    packages = " and ".join(sorted(point.dist.name for point in points if point.dist))
    if len(points) != 1:
        reason = f"is in several packages, {packages}: uninstall all but one" if points else "is not installed"
        raise UnusablePlugin(f"the plug-in {name} of {group} {reason}")
    plugin = f"the plug-in {name} of {group}, in the package {packages},"
    try:
        loaded = points[0].load()
    except Exception as error:  # an import runs any code that the package holds
        raise UnusablePlugin(f"{plugin} cannot be imported: {error!r}") from error
    if not callable(loaded):
        raise UnusablePlugin(f"{plugin} is nothing that can be called")
    return loaded  # type: ignore[no-any-return]  # the port decides what it returns
