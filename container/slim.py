"""Shrink a Python environment, and make it start fast from a read-only disk: python slim.py FOLDER

The tests of libraries are deleted. All modules are compiled except those that only a training imports, since trainings
start rarely, and bytecode would add a quarter to the size.
"""

from __future__ import annotations

import compileall
import re
import shutil
import sys
from pathlib import Path

TRAINING = re.compile(r"/(scipy|sklearn|joblib)/")


def main() -> None:
    """Shrink the environment in the folder that the command line names."""
    folder = Path(sys.argv[1])
    for tests in sorted(folder.glob("lib/python*/site-packages/*/**/tests")):
        shutil.rmtree(tests, ignore_errors=True)
    if not compileall.compile_dir(folder / "lib", quiet=1, rx=TRAINING, invalidation_mode=None):
        raise SystemExit("some modules could not be compiled")


if __name__ == "__main__":
    main()
