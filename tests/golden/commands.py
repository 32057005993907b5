"""The commands whose answers are recorded, in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from tests.golden.exchanges import Command, Shell
from tests.golden.http_requests import NOBODY, SALES
from tests.golden.world import id_of

DAY_AFTER = datetime(2025, 6, 2, 12, tzinfo=UTC)
WEEK_AFTER = datetime(2025, 6, 8, 12, tzinfo=UTC)

_HOUSES = "address,size,bedrooms,town\n1 Elm St,2500,3,Łódź\n2 Elm St,900.5,1,\n3 Elm St,big,1,Oz\n"
_SALES = f"prediction,price,date\n{id_of(1)},400000,2025-06-02\n{NOBODY},1000,2025-06-02\n"
_BAD_SALES = f"prediction,price,date\n{id_of(1)},0,2025-06-02\nx,1,tomorrow\n"

COMMANDS: Mapping[str, Sequence[Shell]] = {
    "cli_estimates": (
        Shell(
            "estimates and records",
            "houses",
            (
                Command("predict --json size=2500 bedrooms=3 garden=true town=Łódź heating=gas sold=2025-05-01"),
                Command("predict size=300 bedrooms=9 town=Oz"),
                Command("predict --explain --json size=900.5 bedrooms=1"),
                Command("predict --explain size=2500 bedrooms=3 garden=true town=Linden"),
                Command("predict --json houses.csv -o prices.csv", DAY_AFTER, output_file="prices.csv"),
                Command("predict houses.csv -o -", DAY_AFTER),
                Command("predict size=big bedrooms=1 bedrooms=2 colour=red"),
                Command("predict size"),
                Command("predict houses.csv -o prices.txt"),
                Command("predict none.csv -o prices.csv"),
                Command("predict --json houses.csv houses.csv --explain -o -"),
                Command("predictions --json --limit 2"),
                Command(f"predictions --json --before {id_of(2)}"),
                Command("predictions"),
                Command("predictions --limit 0"),
                Command(f"predictions show {id_of(1)} --json"),
                Command(f"predictions show {id_of(1)}"),
                Command(f"predictions show {NOBODY}"),
                Command("export -o all.jsonl", output_file="all.jsonl"),
                Command("export -o all.csv", output_file="all.csv"),
                Command("export -o - --since 2025-06-02 --until 2025-06-02"),
                Command("export -o all.xlsx"),
                Command("drift --json"),
                Command("drift"),
            ),
            {"houses.csv": _HOUSES},
        ),
        Shell(
            "sales",
            "houses",
            (
                Command("predict size=2500 bedrooms=3"),
                Command("predict size=1000 bedrooms=2"),
                Command(f"sale {id_of(1)} --price 250000 --date 2025-06-02 --json"),
                Command(f"sale {id_of(1)} --price 260000 --date 2025-06-02"),
                Command(f"sale {NOBODY} --price 260000 --date 2025-06-02"),
                Command(f"sale {id_of(1)} --price many --date 2025-13-01"),
                Command("sales sales.csv --json", DAY_AFTER),
                Command("sales sales.csv"),
                Command("sales bad.csv"),
                Command("sales none.csv"),
                Command("accuracy --json"),
                Command("accuracy"),
                Command("accuracy --json --since 2026-01-01"),
                Command("accuracy --since yesterday"),
                Command(f"erase {id_of(2)} {NOBODY} --json"),
                Command(f"erase {id_of(2)}"),
                Command(f"sale {id_of(2)} --price 1000 --date 2025-06-02"),
                Command("prune --json"),
                Command("prune --keep 1d --json", WEEK_AFTER),
                Command("prune --keep soon"),
            ),
            {"sales.csv": _SALES, "bad.csv": _BAD_SALES},
        ),
    ),
    "cli_models": (
        Shell(
            "models",
            "models",
            (
                Command("models --json"),
                Command("models"),
                Command("models show second --json"),
                Command("models show second"),
                Command("models show second --html second.html", output_file="second.html"),
                Command("models show none"),
                Command("models rollback --json"),
                Command("models rollback"),
                Command("models promote second"),
                Command("models promote second --json"),
                Command("models promote damaged"),
                Command("models promote none"),
            ),
        ),
        Shell(
            "trainings",
            "models",
            (
                Command("train sales.csv --price price --promote always --json"),
                Command("train sales.csv --promote never --exclude town --type bedrooms=number"),
                Command("train sales.csv --price cost"),
                Command("train few.csv"),
                Command("train none.csv"),
                Command("train"),
                Command("train --synthetic --from-sales"),
                Command("train sales.csv --seed x"),
                Command("train sales.csv --type town=word"),
                Command("trainings --json"),
                Command("trainings"),
                Command(f"trainings cancel {id_of(1)}"),
                Command(f"trainings cancel {NOBODY} --json"),
                Command("trainings cancel x"),
            ),
            {"sales.csv": SALES, "few.csv": "size,price\n1000,100000\n"},
        ),
        Shell("a real training", "real", (Command("train --synthetic --json", shown="structure"),)),
    ),
    "cli_service": (
        Shell(
            "no model",
            "nothing",
            (
                Command("predict size=2500 bedrooms=3 age=10"),
                Command("predict --demo size=2500 bedrooms=3 age=10 --json"),
                Command("predict --demo --explain size=2500 bedrooms=3 age=10"),
                Command("models --json"),
                Command("models rollback"),
                Command("drift --json"),
                Command("predictions --json --limit 1"),
                Command("trainings"),
                Command("accuracy --json"),
                Command("config --json"),
                Command("config"),
                Command("health --port 1"),
                Command("health --port many"),
                Command("migrate"),
                Command("completion bash", shown="nothing"),
                Command("--version"),
                Command("serve --workers 0"),
            ),
        ),
        Shell(
            "no storage",
            "no storage",
            (
                Command("predict size=2500 bedrooms=3"),
                Command("predictions --json"),
                Command(f"predictions show {id_of(1)}"),
                Command(f"erase {id_of(1)}"),
                Command("drift --json"),
                Command("export -o -"),
            ),
        ),
        Shell(
            "no model store",
            "no model store",
            (Command("models --json"), Command("predict size=2500 bedrooms=3"), Command("train --synthetic")),
        ),
        Shell("lost model", "lost model", (Command("predict size=2500 bedrooms=3"), Command("models promote lost"))),
        Shell("refused model", "refused model", (Command("predict size=2500 bedrooms=3"),)),
        Shell(
            "old model",
            "old model",
            (
                Command("predict --explain size=2500 bedrooms=3"),
                Command("drift"),
                Command("models show old"),
            ),
        ),
        Shell("no scikit-learn", "no trainer", (Command("train --synthetic"),)),
        Shell(
            "wrong settings",
            "nothing",
            (Command("config --json"), Command("models"), Command("serve")),
            environment={"HOUSEPREDICT_PROT": "80", "HOUSEPREDICT_MAX_BATCH": "0", "HOUSEPREDICT_TOKEN": "short"},
        ),
        Shell(
            "some settings",
            "nothing",
            (Command("config --json"), Command("config")),
            environment={
                "HOUSEPREDICT_DATABASE_URL": "postgresql://reader:secret@db.example/prices",
                "HOUSEPREDICT_TOKEN": "0123456789abcdef",
                "DB_HOST": "localhost",
            },
        ),
    ),
}
