"""Append batches to an SQLite file and print the acknowledged ids: FILE BATCHES, or FILE alone to run until killed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from housepredict.adapters.sqlite.predictions import SqlitePredictions
from housepredict.domain.estimates import Estimate, Prediction
from housepredict.domain.features import House
from housepredict.domain.identifiers import IdSequence

path, batches = Path(sys.argv[1]), range(int(sys.argv[2])) if len(sys.argv) > 2 else count()
estimate = Estimate(House({"size": 2500}), 254206.02, "recorder")
ids = IdSequence()
with SqlitePredictions.open(path, timeout=60) as predictions:
    for _ in batches:
        now = datetime.now(UTC)
        batch = [Prediction(each, now, estimate) for each in ids.take(5, now)]
        predictions.append(batch)
        sys.stdout.write(" ".join(str(each.id) for each in batch) + "\n")
        sys.stdout.flush()
