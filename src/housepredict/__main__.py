"""`python -m housepredict`."""

from __future__ import annotations

import sys

from housepredict.entrypoints.cli import main

sys.exit(main())
