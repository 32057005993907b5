"""Find and import plug-ins: adapters in other packages that are registered as entry points.

A plug-in is imported only if the settings name it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from housepredict.domain.errors import UnusablePlugin

REPOSITORIES = "housepredict.repositories"
"""The entry point group for plug-ins that open repositories (RepositoryOpeners).

The name of each entry point is the scheme of the database URLs that the plug-in handles.
"""

PREDICTORS = "housepredict.predictors"
"""The entry point group for plug-ins that load predictors (PredictorLoaders)."""


def installed(group: str) -> Sequence[str]:
    """Return the names of the installed plug-ins in an entry point group."""
    from importlib.metadata import entry_points  # imported late: it takes milliseconds, and few users have plug-ins

    return sorted(entry_points(group=group).names)


def load(group: str, name: str) -> Callable[..., Any]:
    """Import a plug-in.

    Raises:
        UnusablePlugin: if the plug-in can't be used. The message names the plug-in and its package.
    """
    from importlib.metadata import entry_points

    points = tuple(entry_points(group=group, name=name))
    packages = " and ".join(sorted(point.dist.name for point in points if point.dist))
    if len(points) != 1:
        reason = f"is in several packages ({packages}): uninstall all but one" if points else "is not installed"
        raise UnusablePlugin(f"the plug-in {name} of {group} {reason}")
    plugin = f"the plug-in {name} of {group}, in the package {packages},"
    try:
        loaded = points[0].load()
    except Exception as error:  # an import may run any code
        raise UnusablePlugin(f"{plugin} cannot be imported: {error!r}") from error
    if not callable(loaded):
        raise UnusablePlugin(f"{plugin} is not callable")
    return loaded  # type: ignore[no-any-return]  # the port declares the type of the result
