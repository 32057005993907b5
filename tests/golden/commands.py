"""The commands whose answers are recorded, in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.golden.asking import Run, Terminal
from tests.golden.http_requests import NOBODY, SALES
from tests.golden.world import id_of

DAY_AFTER = datetime(2025, 6, 2, 12, tzinfo=UTC)
WEEK_AFTER = datetime(2025, 6, 8, 12, tzinfo=UTC)

_HOUSES = "address,size,bedrooms,town\n1 Elm St,2500,3,Łódź\n2 Elm St,900.5,1,\n3 Elm St,big,1,Oz\n"
_SALES = f"prediction,price,date\n{id_of(1)},400000,2025-06-02\n{NOBODY},1000,2025-06-02\n"
_BAD_SALES = f"prediction,price,date\n{id_of(1)},0,2025-06-02\nx,1,tomorrow\n"

COMMANDS: Mapping[str, Sequence[Terminal]] = {
    "cli_estimates": (
        Terminal(
            "estimates and records",
            "houses",
            (
                Run("predict --json size=2500 bedrooms=3 garden=true town=Łódź heating=gas sold=2025-05-01"),
                Run("predict size=300 bedrooms=9 town=Oz"),
                Run("predict --explain --json size=900.5 bedrooms=1"),
                Run("predict --explain size=2500 bedrooms=3 garden=true town=Linden"),
                Run("predict --json houses.csv -o prices.csv", DAY_AFTER, reads="prices.csv"),
                Run("predict houses.csv -o -", DAY_AFTER),
                Run("predict size=big bedrooms=1 bedrooms=2 colour=red"),
                Run("predict size"),
                Run("predict houses.csv -o prices.txt"),
                Run("predict none.csv -o prices.csv"),
                Run("predict --json houses.csv houses.csv --explain -o -"),
                Run("predictions --json --limit 2"),
                Run(f"predictions --json --before {id_of(2)}"),
                Run("predictions"),
                Run("predictions --limit 0"),
                Run(f"predictions show {id_of(1)} --json"),
                Run(f"predictions show {id_of(1)}"),
                Run(f"predictions show {NOBODY}"),
                Run("export -o all.jsonl", reads="all.jsonl"),
                Run("export -o all.csv", reads="all.csv"),
                Run("export -o - --since 2025-06-02 --until 2025-06-02"),
                Run("export -o all.xlsx"),
                Run("drift --json"),
                Run("drift"),
            ),
            {"houses.csv": _HOUSES},
        ),
        Terminal(
            "sales",
            "houses",
            (
                Run("predict size=2500 bedrooms=3"),
                Run("predict size=1000 bedrooms=2"),
                Run(f"sale {id_of(1)} --price 250000 --date 2025-06-02 --json"),
                Run(f"sale {id_of(1)} --price 260000 --date 2025-06-02"),
                Run(f"sale {NOBODY} --price 260000 --date 2025-06-02"),
                Run(f"sale {id_of(1)} --price many --date 2025-13-01"),
                Run("sales sales.csv --json", DAY_AFTER),
                Run("sales sales.csv"),
                Run("sales bad.csv"),
                Run("sales none.csv"),
                Run("accuracy --json"),
                Run("accuracy"),
                Run("accuracy --json --since 2026-01-01"),
                Run("accuracy --since yesterday"),
                Run(f"erase {id_of(2)} {NOBODY} --json"),
                Run(f"erase {id_of(2)}"),
                Run(f"sale {id_of(2)} --price 1000 --date 2025-06-02"),
                Run("prune --json"),
                Run("prune --keep 1d --json", WEEK_AFTER),
                Run("prune --keep soon"),
            ),
            {"sales.csv": _SALES, "bad.csv": _BAD_SALES},
        ),
    ),
    "cli_models": (
        Terminal(
            "models",
            "models",
            (
                Run("models --json"),
                Run("models"),
                Run("models show second --json"),
                Run("models show second"),
                Run("models show second --html second.html"),
                Run("models show none"),
                Run("models rollback --json"),
                Run("models rollback"),
                Run("models promote second"),
                Run("models promote second --json"),
                Run("models promote damaged"),
                Run("models promote none"),
            ),
        ),
        Terminal(
            "trainings",
            "models",
            (
                Run("train sales.csv --price price --promote always --json"),
                Run("train sales.csv --promote never --exclude town --type bedrooms=number"),
                Run("train sales.csv --price cost"),
                Run("train few.csv"),
                Run("train none.csv"),
                Run("train"),
                Run("train --synthetic --from-sales"),
                Run("train sales.csv --seed x"),
                Run("train sales.csv --type town=word"),
                Run("trainings --json"),
                Run("trainings"),
                Run(f"trainings cancel {id_of(1)}"),
                Run(f"trainings cancel {NOBODY} --json"),
                Run("trainings cancel x"),
            ),
            {"sales.csv": SALES, "few.csv": "size,price\n1000,100000\n"},
        ),
        Terminal("a real training", "real", (Run("train --synthetic --json", shown="structure"),)),
    ),
    "cli_service": (
        Terminal(
            "no model",
            "nothing",
            (
                Run("predict size=2500 bedrooms=3 age=10"),
                Run("predict --demo size=2500 bedrooms=3 age=10 --json"),
                Run("predict --demo --explain size=2500 bedrooms=3 age=10"),
                Run("models --json"),
                Run("models rollback"),
                Run("drift --json"),
                Run("predictions --json --limit 1"),
                Run("trainings"),
                Run("accuracy --json"),
                Run("config --json"),
                Run("config"),
                Run("health --port 1"),
                Run("health --port many"),
                Run("migrate"),
                Run("completion bash", shown="nothing"),
                Run("--version"),
                Run("serve --workers 0"),
            ),
        ),
        Terminal(
            "wrong settings",
            "nothing",
            (Run("config --json"), Run("models"), Run("serve")),
            environment={"HOUSEPREDICT_PROT": "80", "HOUSEPREDICT_MAX_BATCH": "0", "HOUSEPREDICT_TOKEN": "short"},
        ),
        Terminal(
            "some settings",
            "nothing",
            (Run("config --json"), Run("config")),
            environment={
                "HOUSEPREDICT_DATABASE_URL": "postgresql://reader:secret@db.example/prices",
                "HOUSEPREDICT_TOKEN": "0123456789abcdef",
                "HOUSEPREDICT_RATE_LIMIT": "100/s",
                "DB_HOST": "localhost",
            },
        ),
    ),
}
