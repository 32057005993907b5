"""Run `housepredict` like process 1 of a container: orphaned processes become its children. Linux only.

python -m tests.integration.first_process serve …
"""

from __future__ import annotations

import ctypes
import sys

from housepredict.entrypoints.cli import main as cli

PR_SET_CHILD_SUBREAPER = 36

if __name__ == "__main__":
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    sys.exit(cli.main())
