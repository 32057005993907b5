"""Make an environment smaller, and fast to start from a read-only disk: python slim.py FOLDER

It deletes the tests of libraries, and compiles all modules but those that only a training imports: trainings start
rarely, and that bytecode would add a quarter to their size.
"""

from __future__ import annotations

import compileall
import re
import shutil
import sys
from pathlib import Path

TRAINING = re.compile(r"/(scipy|sklearn|joblib)/")


def main() -> None:
    """Slim the environment in the folder given as argument."""
    folder = Path(sys.argv[1])
    for tests in sorted(folder.glob("lib/python*/site-packages/*/**/tests")):
        shutil.rmtree(tests, ignore_errors=True)
    if not compileall.compile_dir(folder / "lib", quiet=1, rx=TRAINING, invalidation_mode=None):
        raise SystemExit("some modules can't be compiled")


if __name__ == "__main__":
    main()
