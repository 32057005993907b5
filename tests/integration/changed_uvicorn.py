"""Run the service on a uvicorn whose internals differ from the supported ones. `CHANGED` names the difference."""

from __future__ import annotations

import os
import sys
from types import FunctionType
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle


def rename(old: str, new: str) -> None:
    """Rename an attribute or method everywhere in uvicorn."""
    for owner in (HttpToolsProtocol, RequestResponseCycle):
        for name, function in list(vars(owner).items()):
            if isinstance(function, FunctionType):
                names = tuple(new if each == old else each for each in function.__code__.co_names)
                function.__code__ = function.__code__.replace(co_names=names)
            if name == old:
                setattr(owner, new, function)
                delattr(owner, old)


def hide(name: str) -> None:
    """Keep an attribute of the request cycle, but hide it from the express lane."""

    def get(cycle: RequestResponseCycle) -> Any:
        if sys._getframe(1).f_globals["__name__"].endswith(".express"):
            raise AttributeError(name)
        return vars(cycle)[f"_{name}"]

    setattr(RequestResponseCycle, name, property(get, lambda cycle, value: vars(cycle).update({f"_{name}": value})))


def _change(what: str) -> None:
    if what.startswith("late "):
        hide(what.removeprefix("late "))
    else:
        rename(what, f"{what}_of_tomorrow")


if __name__ == "__main__":
    from housepredict.entrypoints.cli.main import main

    _change(os.environ["CHANGED"])
    sys.exit(main())
