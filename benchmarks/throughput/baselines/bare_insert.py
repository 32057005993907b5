"""One prepared INSERT of a thousand rows, and nothing else, again and again: what the database alone would take.

python -m benchmarks.throughput.baselines.bare_insert CONNINFO TABLE SECONDS < a list of houses as JSON

The table is a copy of the service's, and the statement takes the rows as the service's does, in one jsonb parameter.
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
BATCH = "%BATCH%"  # stands where each batch has its number: the ids rise, and writing them costs next to nothing


def rows(houses: list[dict[str, float]]) -> str:
    """The batch as one JSON text."""
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
    took: list[float] = []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        started = before = time.perf_counter()
        while before - started < float(seconds):
            connection.execute(statement, (template.replace(BATCH, f"{len(took):08x}"),), prepare=True)
            after = time.perf_counter()
            took.append(1000 * (after - before))
            before = after
    cuts = quantiles(took, n=100)
    print(json.dumps({
        "answers": len(took), "seconds": before - started, "not_2xx": 0, "socket_errors": 0,
        "p50_ms": cuts[49], "p99_ms": cuts[98],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
