"""The process of `housepredict` and `python -m housepredict`: an interrupt ends it in one line, whenever it comes.

The handlers are installed before anything else is imported, which takes most of the time of a short command.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_EVERY = 0.2  # seconds
_received: list[int] = []


def main() -> int:
    """Run the command of this process's arguments. Returns the exit code: 128 and its number after a signal."""
    sys.unraisablehook = _report
    for each in _SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as it is under `nohup`, and in the background of a script
            signal.signal(each, _interrupt)
    try:
        from housepredict.entrypoints.cli.main import main as run

        code = run()
    except BaseException:
        # an import that is interrupted may fail in another way
        if not _received:
            raise
        sys.stderr.write("housepredict: interrupted\n")
        code = 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # nothing is left to interrupt
    return 128 + _received[0] if _received else code


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, with the signal's number. Cleaning up is not interrupted once more."""
    _received.append(number)
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _interrupt_again)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY, _LOOK_EVERY)
    raise KeyboardInterrupt(number)


def _interrupt_again(_number: int, _frame: FrameType | None) -> None:
    """Raise it again if somebody dropped it: a library, or Python, where it came in a destructor."""
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None:
        raise KeyboardInterrupt(_received[0])


def _report(unraisable: UnraisableHookArgs) -> None:
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    sys.exit(main())
