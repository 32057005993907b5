"""Repeat a prepared INSERT of 1,000 rows, to measure the database alone.

python -m benchmarks.throughput.baselines.bare_insert CONNINFO TABLE SECONDS < a list of houses as JSON

The table is a copy of the service's. As in the service, the rows are passed as one jsonb parameter.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import quantiles

import psycopg
from psycopg import sql

INSERT = sql.SQL("""
INSERT INTO {} (id, created_at, model_version, features, price, valued_on, caveats)
SELECT given.* FROM jsonb_to_recordset(%s::jsonb) AS given (
    id uuid, created_at timestamptz, model_version text, features jsonb, price numeric, valued_on date, caveats jsonb
)
ON CONFLICT (id) DO NOTHING
""")
BATCH = "%BATCH%"  # replaced with the number of the batch: a cheap way to make ascending ids


def rows(houses: list[dict[str, float]]) -> str:
    """Return the batch as a JSON text."""
    return json.dumps(
        [
            {
                "id": f"{BATCH}-0000-7000-8000-{number:012x}",
                "created_at": "2026-01-01T00:00:00+00:00",
                "model_version": "0001-20260101-linear",
                "features": house,
                "price": 254206.02,
                "valued_on": None,
                "caveats": [],
            }
            for number, house in enumerate(houses)
        ]
    )


def main() -> None:
    conninfo, table, seconds = sys.argv[1:]
    template, statement = rows(json.load(sys.stdin)), INSERT.format(sql.Identifier(table))
    times_ms: list[float] = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        started = before = time.perf_counter()
        while before - started < float(seconds):
            connection.execute(statement, (template.replace(BATCH, f"{len(times_ms):08x}"),), prepare=True)
            after = time.perf_counter()
            times_ms.append(1000 * (after - before))
            before = after
    cuts = quantiles(times_ms, n=100)
    print(json.dumps({
        "answers": len(times_ms), "seconds": before - started, "not_2xx": 0, "socket_errors": 0,
        "p50_ms": cuts[49], "p99_ms": cuts[98],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
