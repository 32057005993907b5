"""Command-line output in a terminal, and shell completion."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from housepredict.entrypoints.cli.main import main

LAB = ("predict", "--demo", "size=2500", "bedrooms=3", "age=10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("terminal")
    main([*LAB, "--data-dir", str(folder)])
    return folder


def run_in_terminal(folder: Path, command: str = "predictions", **environment: str) -> str:
    """Return what a command writes to a terminal."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "housepredict", command, "--data-dir", str(folder)],
        stdout=theirs,
        env={**os.environ, "COLUMNS": "120", **environment},
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):  # a closed terminal raises OSError
        while part := os.read(ours, 65536):
            written += part
    os.close(ours)
    assert run.wait() == 0
    return written.decode()


@pytest.mark.parametrize(
    ("environment", "is_table", "is_colored"),
    [
        ({"TERM": "xterm-256color"}, True, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, False, False),
    ],
    ids=["colors", "no colors", "dumb"],
)
def test_output_adapts_to_terminal_capabilities(
    folder: Path, environment: Mapping[str, str], is_table: bool, is_colored: bool
) -> None:
    shown = run_in_terminal(folder, **environment)
    assert "254,206.02" in shown
    assert ("\u2500" in shown) == is_table
    assert ("\x1b[1;36m" in shown) == is_colored
    if not is_table:
        assert "\x1b" not in shown


def test_narrow_terminal_keeps_ids_in_one_piece(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sales = tmp_path / "sales.csv"
    houses = [(500 + row * 37 % 200, row % 8) for row in range(200)]
    rows = [f"{100 * sqft + 10_000 * rooms},{sqft},{rooms}\n" for sqft, rooms in houses]
    sales.write_text("".join(["price,sqft,rooms\n", *rows]))
    main(["train", str(sales), "--algorithm", "linear", "--data-dir", str(tmp_path)])
    main(["predict", "sqft=600", "rooms=3", "--data-dir", str(tmp_path)])
    for command, listed, name in (
        ("predictions", "predictions", "id"), ("models", "models", "model_version"), ("trainings", "trainings", "id")
    ):  # fmt: skip
        capsys.readouterr()
        main([command, "--json", "--data-dir", str(tmp_path)])
        (first,) = json.loads(capsys.readouterr().out)[listed]
        shown = re.sub(r"\x1b\[[\d;]*m", "", run_in_terminal(tmp_path, command, COLUMNS="80", TERM="xterm"))
        assert first[name] in shown
        assert max(map(len, shown.splitlines())) <= 80
        assert command != "models" or "  sales.csv  " in shown


def test_pipe_gets_plain_text(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "housepredict", "predictions", "--data-dir", str(folder)],
        capture_output=True, text=True, check=True, env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    assert run.stdout.splitlines()[1].startswith(f"{'-' * 36}  -------------------  ----------")
    assert run.stdout.isascii()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("housepredict pred", {"predict", "predictions"}),
        ("housepredict predict --ex", {"--explain"}),
        ("housepredict models pro", {"promote"}),
        ("housepredict train --algorithm ri", {"ridge"}),
        ("housepredict train hous", {"houses.csv"}),
        ("housepredict completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes_commands_options_choices_and_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, expected: set[str]
) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    assert main(["completion", "bash", "--data-dir", str(tmp_path)]) == 0
    (tmp_path / "completion.bash").write_text(capsys.readouterr().out)
    (tmp_path / "houses.csv").touch()
    typed = words.split(" ")
    script = f"""
        source completion.bash
        COMP_WORDS=({" ".join(typed[:-1])} "{typed[-1]}") COMP_CWORD={len(typed) - 1}
        COMP_LINE="{words}" COMP_POINT={len(words)}
        $(complete -p housepredict | sed 's/.*-F \\([^ ]*\\).*/\\1/') housepredict "{typed[-1]}" "{typed[-2]}"
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    run = subprocess.run([bash, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert expected <= {each.strip() for each in run.stdout.splitlines()}, run.stderr
    others = {"serve", "models", "--json", "linear"} - expected
    assert not others & {each.strip() for each in run.stdout.splitlines()}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_completion_scripts(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell, "--data-dir", str(tmp_path)]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("housepredict", "predictions", "promote", "explain"))
    if executable := shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([executable, "--no-execute", str(tmp_path / "script")], check=True)
