"""Entry point of the `housepredict` command and of `python -m housepredict`.

An interrupted command prints one line instead of a traceback. The signal handlers are installed before the imports
because a short command spends most of its time importing.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_REPEAT_S = 0.2
_received: list[int] = []


def main() -> int:
    """Run the command given in `sys.argv`.

    Returns:
        The exit code. If the command was interrupted by a signal, this is 128 plus the signal number.
    """
    sys.unraisablehook = _report
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` or a script may have disabled it.
            signal.signal(number, _interrupt)
    try:
        from housepredict.entrypoints.cli.main import main as run

        code = run()
    except BaseException:
        # An interrupted import may raise something other than KeyboardInterrupt.
        if not _received:
            raise
        sys.stderr.write("housepredict: interrupted\n")
        code = 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # The command is over, so there is nothing left to interrupt.
    return 128 + _received[0] if _received else code


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt with the signal number, and ignore later signals so that cleanup can finish."""
    _received.append(number)
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _interrupt_again)
    signal.setitimer(signal.ITIMER_REAL, _REPEAT_S, _REPEAT_S)
    raise KeyboardInterrupt(number)


def _interrupt_again(_number: int, _frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt again if the first one was swallowed by a library or raised in a destructor."""
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
