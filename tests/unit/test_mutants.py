"""Which faults `python -m benchmarks.mutants` makes, and which it leaves out."""

from __future__ import annotations

from textwrap import dedent

import pytest

from benchmarks.mutants.__main__ import all_mutants, draw, identify, read_equivalent
from benchmarks.mutants.operators import mutants_of


def changes(source: str) -> list[str]:
    """What each mutant has in place of the lines that it changes."""
    return [mutant.change.split("\n+ ")[1] for mutant in mutants_of("module.py", dedent(source))]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a < b", ["x = a <= b", "x = a >= b"]),
        ("x = a <= b != c", ["x = a < b != c", "x = a > b != c", "x = a <= b == c"]),
        ("x = a is not b", ["x = a is b"]),
        ("x = a not in (b, 'c')", ["x = a in (b, 'c')", "x = a not in (b, 'XXc')"]),
        ("x = (a + b) * -c", ["x = (a + b) / -c", "x = (a - b) * -c", "x = (a + b) * c"]),
        ("x = 'Größe', a ** b", ["x = 'Größe', a * b"]),
        ("x += 2", ["pass", "x -= 2", "x += 3"]),
        ("x = True, 0.5", ["x = False, 0.5", "x = True, 1.5"]),
        ("x = a or b", ["x = a and b", "x = b or a"]),
        ("x = 1 if a and not b else c", ["x = 1 if a or not b else c", "x = 1 if not (a) and not b else c",
                                         "x = 1 if a and b else c", "x = 2 if a and not b else c"]),
        ("x = [a for a in b if a.c()]", ["x = [a for a in b if not (a.c())]"]),
        ("x = a['b'].c", ["x = a['XXb'].c"]),
        ("x.a = b", ["pass"]),
        ("del x[a]", ["pass"]),
        ("x(a)", ["pass"]),
        ("return a", ["return None"]),
        ("raise E(f'{a} is {b}')", ["pass"]),
        ("while a:\n        break", ["while not (a):", "continue"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_fault_changes_one_operation_value_or_statement(line: str, expected: list[str]) -> None:
    assert sorted(changes(f"def f():\n    {line}\n")) == sorted(expected)


def test_mutants_of_a_predicate_return_the_opposite() -> None:
    assert changes("def f() -> bool:\n    return g(a)\n") == ["return not (g(a))"]


def test_texts_annotations_decorators_and_logs_have_no_mutants() -> None:
    source = '''
    """More than 1."""
    Number = int | float

    @frozen(order=True)
    class A:
        """Less than 2."""

        x: Literal["a", 3] = field(repr=False)

        def f(self, x: Box[1 | 2]) -> Box[True]:
            """Not 3."""
            logger.info("%s or %s", x + 1, not x)
            y = cast(A | B, isinstance(x, int | float))
            z = "x" + f"{x + 1}", dict(zip(x, y, strict=True))
    '''
    assert changes(source) == []


def test_a_mutant_names_what_an_import_would_define() -> None:
    source = """
    LIMIT = 3
    class A:
        x = field(default=2)
        def f(self, y=1):
            self.z = y
    """
    found = {mutant.change: (mutant.scope, mutant.defines) for mutant in mutants_of("module.py", dedent(source))}
    assert found == {
        "- LIMIT = 3\n+ LIMIT = 4": ("", ("LIMIT",)),
        "- x = field(default=2)\n+ x = field(default=3)": ("A", ("A",)),
        "- def f(self, y=1):\n+ def f(self, y=2):": ("A.f", ("A",)),
        "- self.z = y\n+ pass": ("A.f", ()),
    }


def test_mutants_are_drawn_by_a_seed() -> None:
    mutants = all_mutants()
    drawn = draw(mutants, seed=18, count=400)
    assert drawn == draw(mutants, seed=18, count=400) != draw(mutants, seed=19, count=400)
    assert len({(mutant.path, mutant.mutated) for mutant in drawn}) == 400
    for mutant in drawn:
        compile(mutant.mutated, mutant.path, "exec")
    assert {mutant.path for mutant in draw(mutants, 1, 10_000, ["domain/leaks"])} == {
        "src/housepredict/domain/leaks.py"
    }


def test_each_reviewed_mutant_exists_and_has_a_reason() -> None:
    reviewed = read_equivalent()
    paths = {path for path, _, _ in reviewed}
    assert reviewed.keys() <= {identify(mutant) for mutant in all_mutants() if mutant.path in paths}
    assert all(reviewed.values())
