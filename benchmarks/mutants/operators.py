"""The faults that a file can be given, one at a time.

Docstrings, annotations, decorators, f-strings, log calls, and the texts of messages stay as they are. So do `repr=` and
`slots=`, which change no behavior, and `strict=`, which guards against a mistake in the code itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff
from itertools import pairwise

from attrs import evolve, field, frozen

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<", "<=", ">="),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<="),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: (r"is\s+not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, ...]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: (r"\*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"),
    ast.Pow: (r"\*\*", "*"),
    ast.BitOr: (r"\|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_LEFT_ALONE = {"repr", "slots", "strict"}
_LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


@frozen
class Mutant:
    """A file with one fault."""

    path: str
    operator: str
    scope: str
    """The dotted name of the function or class."""
    lines: range
    """Where the mutated code runs, one of these lines runs."""
    defines: tuple[str, ...]
    """The names that the mutated statement defines at import; empty for code in a function."""
    source: str = field(repr=False)
    mutated: str = field(repr=False)

    @property
    def change(self) -> str:
        """The changed lines without their indentation, with - or + before each."""
        lines = list(unified_diff(self.source.splitlines(), self.mutated.splitlines(), n=0, lineterm=""))[3:]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines)

    @property
    def diff(self) -> str:
        """The change as a patch."""
        names = f"a/{self.path}", f"b/{self.path}"
        return "".join(unified_diff(self.source.splitlines(True), self.mutated.splitlines(True), *names, n=1))


@frozen
class _Place:
    """A node, and where it stands."""

    node: ast.AST
    scope: tuple[str, ...] = ()
    statement: ast.stmt | None = None
    defines: tuple[str, ...] = ()
    in_function: bool = False
    answers: bool = False
    """Whether the function returns True or False."""
    is_condition: bool = False
    """Whether only the truth of an expression matters."""


@frozen
class _Text:
    """A file's text, and the byte at which each line begins."""

    text: bytes
    starts: Sequence[int]

    @classmethod
    def of(cls, source: str) -> _Text:
        starts = [0]
        for line in source.encode().splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return cls(source.encode(), starts)

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def of_node(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.text[start:end].decode()

    def replaced(self, node: ast.AST, replacement: str) -> str:
        """The whole text with another text for a node."""
        start, end = self.span(node)
        return (self.text[:start] + replacement.encode() + self.text[end:]).decode()

    def with_operator(self, node: ast.AST, left: ast.expr, right: ast.expr, old: str, new: str) -> str:
        """The text of a node with another operator between two of its operands."""
        (start, end), after, before = self.span(node), self.span(left)[1], self.span(right)[0]
        operator = re.sub(old, new, self.text[after:before].decode(), count=1)
        return self.text[start:after].decode() + operator + self.text[before:end].decode()

    def swapped(self, left: ast.expr, right: ast.expr) -> str | None:
        """The text of two operands in the other order; None if one is in parentheses."""
        between = self.text[self.span(left)[1] : self.span(right)[0]].decode()
        if "(" in between or ")" in between:
            return None
        return f"{self.of_node(right)}{between}{self.of_node(left)}"


_Fault = tuple[str, ast.AST, str]
"""The operator, the node that is replaced, and its new text."""


def mutants_of(path: str, source: str) -> list[Mutant]:
    """Return every mutant of a file, in the order of their places."""
    text = _Text.of(source)
    found = []
    for place in _places(_Place(ast.parse(source))):
        for operator, node, replacement in _faults(place, text):
            assert isinstance(place.statement, ast.stmt)
            assert isinstance(node, ast.expr | ast.stmt)
            mutated = text.replaced(node, replacement)
            lines = range(place.statement.lineno, (node.end_lineno or node.lineno) + 1)
            found.append(Mutant(path, operator, ".".join(place.scope), lines, place.defines, source, mutated))
    return found


def _places(place: _Place) -> Iterator[_Place]:
    """Yield a node and all that it contains, but for what is left alone."""
    node = place.node
    if isinstance(node, ast.stmt):
        defines = () if place.in_function else place.defines or _defined_by(node)
        place = evolve(place, statement=node, defines=defines)
    yield place
    if isinstance(node, ast.ClassDef):
        place = evolve(place, scope=(*place.scope, node.name))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        answers = node.returns is not None and ast.unparse(node.returns) == "bool"
        place = evolve(place, scope=(*place.scope, node.name), answers=answers)
    conditions = _conditions(place)
    for child in _children(node):
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not _is_default(node, child)
        in_function = place.in_function or inside
        yield from _places(
            evolve(
                place,
                node=child,
                in_function=in_function,
                defines=() if in_function else place.defines,
                is_condition=child in conditions,
            )
        )


def _children(node: ast.AST) -> Iterable[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
        case ast.Lambda():
            return [node.body]
        case ast.ClassDef():
            return node.body
        case ast.AnnAssign():
            return filter(None, [node.value])
        case ast.If(test=ast.Name("TYPE_CHECKING")) | ast.JoinedStr():
            return []
        case ast.Call(func=ast.Attribute(attr=name)) if name in _LOG_METHODS:
            return []
        case ast.Call(func=ast.Name("assert_never" | "cast")):
            return node.args[1:]
        case ast.Call(func=ast.Name("isinstance")):
            return node.args[:1]
        case ast.keyword(arg=name) if name in _LEFT_ALONE:
            return []
    return ast.iter_child_nodes(node)


def _is_default(function: ast.AST, child: ast.AST) -> bool:
    arguments = getattr(function, "args", None)
    return arguments is not None and child in [*arguments.defaults, *arguments.kw_defaults]


def _conditions(place: _Place) -> Sequence[ast.AST]:
    """The parts of a node of which only the truth matters."""
    match place.node:
        case ast.If() | ast.While() | ast.IfExp() | ast.Assert():
            return [place.node.test]
        case ast.comprehension(ifs=tests):
            return tests
        case ast.match_case(guard=ast.expr() as guard):
            return [guard]
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp() as operand):
            return [operand]
        case ast.Call(func=ast.Name("bool" | "any" | "all"), args=arguments):
            return arguments
        case ast.Return(value=ast.BoolOp() as value) if place.answers:
            return [value]
        case ast.BoolOp(values=values) if place.is_condition:
            return values
    return []


def _defined_by(statement: ast.stmt) -> tuple[str, ...]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return (statement.name,)
    return tuple(
        each.id for each in ast.walk(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    )


def _faults(place: _Place, text: _Text) -> Iterator[_Fault]:
    """Yield the faults in a node."""
    node = place.node
    if isinstance(node, ast.stmt):
        yield from _faults_of_statement(node, place, text)
    elif isinstance(node, ast.UnaryOp | ast.BinOp | ast.BoolOp | ast.Compare):
        yield from _faults_of_operation(node, place, text)
    match node:
        case ast.Subscript(slice=part) | ast.MatchValue(value=part):
            yield from _other_texts([part])
        case ast.Constant(value=bool(value)):
            yield "constant", node, str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield "constant", node, repr(value + 1)
        case ast.Name() | ast.Attribute() | ast.Call() | ast.NamedExpr() if place.is_condition:
            yield "not", node, f"not ({text.of_node(node)})"


def _faults_of_statement(node: ast.stmt, place: _Place, text: _Text) -> Iterator[_Fault]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) if list(_children(node.value)):
            yield "statement", node, "pass"
        case ast.Assign() | ast.AnnAssign() | ast.Delete() if _is_removable(node):
            yield "statement", node, "pass"
        case ast.AugAssign(target=left, op=operator, value=right):
            yield "statement", node, "pass"
            yield from _other_operators("arithmetic", node, (left, right), _ARITHMETIC[type(operator)], text)
        case ast.Break():
            yield "statement", node, "continue"
        case ast.Continue():
            yield "statement", node, "break"
        case ast.Raise():
            yield "raise", node, "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant) or _is_text(value):
            yield "return", value, f"not ({text.of_node(value)})" if place.answers else "None"


def _faults_of_operation(node: ast.expr, place: _Place, text: _Text) -> Iterator[_Fault]:
    match node:
        case ast.UnaryOp(op=ast.Not()):
            yield "not", node, text.of_node(node).removeprefix("not").lstrip()
        case ast.UnaryOp(op=ast.USub()):
            yield "arithmetic", node, text.of_node(node).removeprefix("-").lstrip()
        case ast.BinOp(left=left, right=right, op=operator) if not (_is_text(left) or _is_text(right)):
            if place.in_function or not isinstance(operator, ast.BitOr):  # elsewhere, | joins types
                yield from _other_operators("arithmetic", node, (left, right), _ARITHMETIC[type(operator)], text)
        case ast.BoolOp(values=values):
            names = (r"\band\b", "or") if isinstance(node.op, ast.And) else (r"\bor\b", "and")
            for pair in pairwise(values):
                yield from _other_operators("boolean", node, pair, names, text)
            # the order of values matters, that of conditions hardly ever
            truths = place.is_condition or all(isinstance(each, ast.Compare | ast.UnaryOp) for each in values)
            if not truths and len(values) == 2 and (swapped := text.swapped(*values)):
                yield "swapped", node, swapped
        case ast.Compare(left=left, ops=operators, comparators=right):
            for comparison, pair in zip(operators, pairwise([left, *right]), strict=True):
                yield from _other_operators("comparison", node, pair, _COMPARISONS[type(comparison)], text)
            yield from _other_texts([part for side in [left, *right] for part in getattr(side, "elts", [side])])


def _other_operators(
    kind: str, node: ast.AST, pair: tuple[ast.expr, ast.expr], operators: Sequence[str], text: _Text
) -> Iterator[_Fault]:
    old, *others = operators
    for new in others:
        yield kind, node, text.with_operator(node, *pair, old, new)


def _other_texts(nodes: Sequence[ast.AST]) -> Iterator[_Fault]:
    """Texts that are compared or looked up matter, as those of messages do not."""
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "constant", node, repr(f"XX{node.value}")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _is_removable(statement: ast.Assign | ast.AnnAssign | ast.Delete) -> bool:
    """Whether a name can't be missing without the statement, so that its removal would be noticed at once."""
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else statement.targets
    return bool(
        all(isinstance(each, ast.Attribute | ast.Subscript) for each in targets)
        and (isinstance(statement, ast.Delete) or statement.value)
    )
