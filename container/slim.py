"""Make an environment smaller, and quick to start from a disk that cannot be written: python slim.py FOLDER

Tests of libraries go. What serves is compiled; what only a training imports is not: it starts seldom, and its bytecode
would be a quarter of its size again.
"""

from __future__ import annotations

import compileall
import re
import shutil
import sys
from pathlib import Path

TRAINING = re.compile(r"/(scipy|sklearn|joblib)/")


def main() -> None:
    """Slim the environment in the folder that the command line names."""
    folder = Path(sys.argv[1])
    for tests in sorted(folder.glob("lib/python*/site-packages/*/**/tests")):
        shutil.rmtree(tests, ignore_errors=True)
    if not compileall.compile_dir(folder / "lib", quiet=1, rx=TRAINING, invalidation_mode=None):
        raise SystemExit("some of it could not be compiled")


if __name__ == "__main__":
    main()
