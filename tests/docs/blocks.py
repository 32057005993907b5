"""The code blocks of a page, run in order as its reader would run them, in a folder of the page's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from attrs import define, field
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
KING_COUNTY = "housepredict train examples/king_county_sales.csv.gz --price price"
ADDRESS = "127.0.0.1:5000"
NOT_RUN = re.compile(r"<!-- not run: (.+) -->\n+(?=```)")
_FENCE = re.compile(r"^ *```(?!(?:text|sql)$)\w", re.MULTILINE)  # the integration tests run what is SQL


@define
class Page:
    """Runs blocks of Python, console and JSON in the working folder.

    `trained` keeps a model for other pages; `stand_ins` replace values that a page exports.
    """

    monkeypatch: pytest.MonkeyPatch
    trained: Path
    stand_ins: Mapping[str, str] = field(factory=dict)
    _services: ExitStack = field(factory=ExitStack)
    _address: str | None = None
    _answer: str = ""

    def run(self, path: Path) -> None:
        """Run every block but those behind a comment that says why not."""
        evaluators = {"python": self._python, "console": self._console, "json": self._json}
        document = Document.parse(str(path), *(CodeBlockParser(each, run) for each, run in evaluators.items()))
        left_out = {mark.end() for mark in NOT_RUN.finditer(document.text)}
        with self._services:
            examples = list(document.examples())
            assert len(examples) == len(_FENCE.findall(document.text)), "a block in a language that nothing runs"
            for example in examples:
                if example.region.start not in left_out:
                    example.evaluate()

    def _python(self, example: Example) -> None:
        """Run it, or keep it if it begins with the name of a file; what it prints stands behind each print."""
        name = re.match(r"# (\w+\.py)\n", example.parsed)
        if name:
            Path(name[1]).write_text(example.parsed, encoding="utf-8")
            return
        printed = StringIO()
        with redirect_stdout(printed):
            PythonEvaluator()(example)
        expect("\n".join(re.findall(r"print\(.*\)  # (.+)", example.parsed)), printed.getvalue())

    def _json(self, example: Example) -> None:
        """Compare with what the last command said."""
        expected, actual = json.loads(example.parsed), json.loads(self._answer)
        assert _is_like(expected, actual), f"expected:\n{expected}\n\nsaid:\n{actual}"

    def _console(self, example: Example) -> None:
        """Run each command, which must end well, and compare what is shown of its output, if anything is."""
        for command, expected in _commands(example.parsed):
            self._answer = self._say(command)
            if expected:
                expect(expected, self._answer)

    def _say(self, command: str) -> str:
        match shlex.split(command):
            case ["make", target, *_]:
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), f"no target {target}"
                return self._serve("--demo") if target == "run" else ""
            case ["housepredict", "serve", *arguments]:
                return self._serve(*arguments)
            case ["export", *assignments]:
                for name, _, value in (each.partition("=") for each in assignments):
                    self.monkeypatch.setenv(name, self.stand_ins.get(name, os.path.expandvars(value)))
                return ""
        if ADDRESS in command and self._address is None:
            self._serve("--demo")
        if command == KING_COUNTY:
            return self._train()
        return self._bash(command.replace(ADDRESS, self._address or ADDRESS))

    def _bash(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        return self._shown(done.stdout)

    def _train(self) -> str:
        """Train as several pages do, once, and without the search for the best model, which takes minutes.

        What was made serves them all.
        """
        models, said = Path(".housepredict/models"), self.trained / "said.txt"
        if not said.exists():
            output = self._bash(f"{KING_COUNTY} --effort low")
            shutil.copytree(models, self.trained, dirs_exist_ok=True)
            said.write_text(output, encoding="utf-8")
        shutil.copytree(self.trained, models, dirs_exist_ok=True)
        return said.read_text(encoding="utf-8")

    def _serve(self, *arguments: str) -> str:
        """Start the service on a port that is free, in place of one started before. Returns what it says."""
        self._services.close()
        greeting = self._services.enter_context(_service(*arguments))
        found = re.search(r"http://(\S+)", greeting)
        assert found, greeting
        self._address = found[1]
        return self._shown(greeting)

    def _shown(self, output: str) -> str:
        return output.replace(self._address, ADDRESS) if self._address else output


@contextmanager
def _service(*arguments: str) -> Iterator[str]:
    with Path("service.log").open("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            ["housepredict", "serve", *arguments, "--port", "0"], stdout=subprocess.PIPE, stderr=log
        )
        try:
            assert process.stdout
            # one write, which a pipe keeps together
            greeting = process.stdout.read1().decode()  # type: ignore[attr-defined]  # a BufferedReader
            assert greeting, Path(log.name).read_text(encoding="utf-8")
            yield greeting
        finally:
            process.terminate()
            process.communicate(timeout=30)


def expect(expected: str, actual: str) -> None:
    """Compare output, in which … stands for anything in a line, and a line of it for any lines."""
    lines = [line.rstrip().replace("...", "…") for line in expected.strip().splitlines()]
    pattern = "\n".join("(?s:.*)" if line == "…" else "[^\n]*".join(map(re.escape, line.split("…"))) for line in lines)
    said = "\n".join(line.rstrip() for line in actual.strip().splitlines())
    assert re.fullmatch(pattern, said), f"expected:\n{expected}\n\nsaid:\n{said}"


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown of it."""
    before, *parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts, "no command"
    assert not before, "output without a command"
    for part in parts:
        said = re.match(r"((?:.*\\\n)*.*)\n?", part)
        assert said
        yield said[1], part[said.end() :]


def _is_like(expected: object, actual: object) -> bool:
    """Whether two JSON values agree where "…" stands for any value, and as a name for any others."""
    match expected, actual:
        case "…", _:
            return True
        case dict(), dict():
            named = expected.keys() - {"…"}
            return (named <= actual.keys() if "…" in expected else named == actual.keys()) and all(
                _is_like(expected[name], actual[name]) for name in named
            )
        case list(), list():
            return len(expected) == len(actual) and all(map(_is_like, expected, actual))
    return expected == actual
