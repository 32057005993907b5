"""`python -m benchmarks.mutants`: its faults, exclusions and choice of tests."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from benchmarks.mutants import Mutant, RecordedTest, apply_faults, choose_tests, draw, report


def mutate(source: str) -> list[str]:
    """Return all mutants of a module, as `ast.unparse` writes them."""
    tree = ast.parse(dedent(source))
    mutants = [ast.unparse(tree) for _ in apply_faults(tree)]
    assert ast.unparse(tree) == ast.unparse(ast.parse(dedent(source))), "the tree keeps a fault"
    return mutants


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x = a < b", ["x = a <= b", "x = a >= b"]),
        ("x = a <= b != c", ["x = a < b != c", "x = a > b != c", "x = a <= b == c"]),
        ("x = a not in {b, 'c'}", ["x = a in {b, 'c'}", "x = a not in {b, 'XXc'}"]),
        ("x = (a + b) * -c", ["x = (a + b) / -c", "x = (a - b) * -c", "x = (a + b) * c"]),
        ("x += 2", ["pass", "x -= 2", "x += 3"]),
        ("x = [True, 0.5]", ["x = [False, 0.5]", "x = [True, 1.5]"]),
        ("x = a or b < c", ["x = a and b < c", "x = not a or b < c", "x = a or b <= c", "x = a or b >= c"]),
        ("x = b if not a else c", ["x = b if a else c"]),
        ("x = [a for a in b if a.c()]", ["x = [a for a in b if not a.c()]"]),
        ("x = a['b'].c", ["x = a['XXb'].c"]),
        ("x.a = b", ["pass"]),
        ("del x[a]", ["pass"]),
        ("x(a)", ["pass"]),
        ("return a", ["return None"]),
        ("return", ["pass"]),
        ("raise E(f'{a} is {b}')", ["pass"]),
        ("while a():\n        break", ["while not a():\n        break", "while a():\n        continue"]),
    ],
    ids=str,
)
def test_faults_change_one_operation_value_or_statement(line: str, expected: list[str]) -> None:
    assert sorted(mutate(f"def f():\n    {line}")) == sorted(f"def f():\n    {mutated}" for mutated in expected)


def test_texts_types_decorators_and_logs_are_not_mutated() -> None:
    source = '''
    """More than 1."""
    Number = int | float

    @frozen(order=True)
    class A:
        """Less than 2."""

        x: Literal["a", 3] = field(repr=False)

        def f(self, x: Box[1 | 2]) -> Box[True]:
            """Not 3."""
            _log.info("%s or %s", x + 1, not x)
            y = cast(A | B, isinstance(x, int | float))
            z = "x" + f"{x + 1}", dict(zip(x, y, strict=True))
            raise E(("no z", "z: " + z))
    '''
    assert mutate(source) == [ast.unparse(ast.parse(dedent(source))).replace("raise E(('no z', 'z: ' + z))", "pass")]


def test_faults_distinguish_import_from_functions() -> None:
    source = (
        "LIMIT = 3\nclass A:\n    x = field(default=2)\n    def f(self, y=1):\n        self.z = (\n            y)\n"
    )
    places = [(list(lines), in_function) for lines, in_function in apply_faults(ast.parse(source))]
    assert places == [([1], False), ([3], False), ([4], False), ([5, 6], True)]


def test_drawn_mutants_compile_and_differ() -> None:
    mutants = draw(seed=18, count=60)
    assert mutants == draw(seed=18, count=60) != draw(seed=19, count=60)
    for mutant in mutants:
        compile(mutant.mutated, mutant.path, "exec")
        assert mutant.mutated != mutant.source
    assert {mutant.path for mutant in draw(1, 10, ["schema_inference/leakage"])} == {
        "src/housepredict/domain/schema_inference/leakage.py"
    }


def test_chosen_tests_put_module_and_fast_files_first() -> None:
    tests = [
        RecordedTest("a.py", 3, "a"),
        RecordedTest("b.py", 2, "b"),
        RecordedTest("unit/test_m.py", 9, "m"),
        RecordedTest("c.py", 116, "c"),
    ]
    mutant = Mutant("domain/m.py", range(7, 9), True, "", "")
    by_line = {6: [tests[0]], 7: tests[1:3], 8: [tests[0], tests[3]]}
    assert [test.name for test in choose_tests(mutant, by_line)] == ["m", "b", "a"]
    assert choose_tests(mutant, {6: tests}) == []
    assert len(choose_tests(mutant._replace(in_function=False), {6: tests[:3]})) == 3


def test_report_counts_by_area_and_shows_survivors() -> None:
    killed, survivor = draw(1, 2, ["schema_inference/leakage"])
    text = report({killed: ("test_a", 3), survivor: ("", 5)})
    assert "| domain | 2 | 1 | 1 | 50.0% |" in text
    assert f"survived 5 tests\n{survivor.patch}" in text
    assert killed.patch not in text
