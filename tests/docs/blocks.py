"""The code blocks of a page, run in order as its reader would run them, in a folder of the page's own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from attrs import define, field
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

from tests.docs.environment import ROOT

KING_COUNTY = "housepredict train examples/king_county_sales.csv.gz --price price"
ADDRESS = "127.0.0.1:5000"
NOT_RUN = re.compile(r"<!-- not run: (.+) -->\n+(?=```)")
_FENCE = re.compile(r"^ *```(?!sql$)\w", re.MULTILINE)  # the integration tests run what is SQL
_INTERPRETER = Path(__file__).with_name("interpreter.py")


@define
class Page:
    """Runs the blocks of a page in the working folder and with the interpreter of its reader's environment.

    `trained` keeps a model for other pages; `stand_ins` replace values that a page exports.
    """

    monkeypatch: pytest.MonkeyPatch
    python: Path
    trained: Path
    stand_ins: Mapping[str, str] = field(factory=dict)
    _services: ExitStack = field(factory=ExitStack)
    _interpreter: subprocess.Popen[str] | None = None
    _address: str | None = None
    _output: str = ""
    _end: int = -1  # where the last block of commands ends

    def run(self, path: Path) -> None:
        """Run every block but those behind a comment that says why not."""
        evaluators = {
            "python": self._run_python,
            "sh": self._run_lines,
            "console": self._run_console,
            "json": self._compare_json,
            "text": self._compare_text,
        }
        document = Document.parse(str(path), *(CodeBlockParser(name, run) for name, run in evaluators.items()))
        skipped = {mark.end() for mark in NOT_RUN.finditer(document.text)}
        try:
            examples = sorted(document.examples(), key=lambda example: example.region.start)
            assert len(examples) == len(_FENCE.findall(document.text)), "a block in a language that nothing runs"
            for example in examples:
                if example.region.start not in skipped:
                    example.evaluate()
        finally:
            self._services.close()
            if self._interpreter:
                self._interpreter.communicate(timeout=60)

    def _run_python(self, example: Example) -> None:
        """Run it and compare its output with the comments behind its prints, or write it to the file that it names."""
        name = re.match(r"# (\w+\.py)\n", example.parsed)
        if name:
            Path(name[1]).write_text(example.parsed, encoding="utf-8")
            return
        if self._interpreter is None:
            self._interpreter = subprocess.Popen(
                [self.python, _INTERPRETER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        block = {
            "code": example.parsed,
            "path": example.path,
            "line": example.line + example.parsed.line_offset,
            "environment": dict(os.environ),
        }
        assert self._interpreter.stdin
        assert self._interpreter.stdout
        print(json.dumps(block), file=self._interpreter.stdin, flush=True)
        reply = json.loads(self._interpreter.stdout.readline())
        assert reply["error"] is None, reply["error"]
        expect("\n".join(re.findall(r"print\(.*\)  # (.+)", example.parsed)), reply["printed"])

    def _compare_json(self, example: Example) -> None:
        """Compare with the output of the last command."""
        expected, actual = json.loads(example.parsed), json.loads(self._output)
        assert _is_like(expected, actual), f"expected:\n{expected}\n\nactual:\n{actual}"

    def _compare_text(self, example: Example) -> None:
        """Compare text directly behind a block of commands with the output of the last of them."""
        if not example.document.text[self._end : example.region.start].strip() and self._end >= 0:
            expect(example.parsed, self._output)

    def _run_lines(self, example: Example) -> None:
        """Run each command, which must succeed."""
        for command in _lines(example.parsed):
            self._output = self._run_command(command)
        self._end = example.region.end

    def _run_console(self, example: Example) -> None:
        """Run each command, which must succeed, and compare the output that is shown, if any."""
        for command, expected in _commands(example.parsed):
            self._output = self._run_command(command)
            if expected:
                expect(expected, self._output)

    def _run_command(self, command: str) -> str:
        match shlex.split(command, comments=True):
            case ["make", "build"]:
                return self._bash(f"hatchling build --directory '{Path.cwd()}/dist'", ROOT)
            case ["pip", "install", *_] if "'.[" in command:
                return self._bash(command, ROOT)
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

    def _bash(self, command: str, folder: Path | None = None) -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, f"{command}\nexited with {done.returncode}:\n{done.stdout}"
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
    assert re.fullmatch(pattern, said), f"expected:\n{expected}\n\nactual:\n{said}"


def _lines(block: str) -> Iterator[str]:
    """The commands of a sh block. A command goes on while its last line ends in a backslash or a quote is open."""
    command = ""
    for line in block.splitlines():
        command += line + "\n"
        try:
            words = [] if line.endswith("\\") else shlex.split(command, comments=True)
        except ValueError:  # an open quote
            continue
        if line.endswith("\\"):
            continue
        if words:
            yield command.rstrip("\n")
        command = ""
    assert not command, f"a command without its end: {command}"


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
