"""Delimited text from many programs: a fault affects at most its own row and is reported."""

from __future__ import annotations

import csv
import io
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.adapters.files.house_file import read_houses_csv
from housepredict.adapters.files.sales_file import WRONG_FIELD_COUNT, SalesFile, read_sales_csv
from housepredict.adapters.files.table_file import csv_table
from housepredict.domain.errors import InvalidSales, UnusableSales
from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.domain.sales import SalesTable
from housepredict.domain.validation import tidy

HEADER = ["town", "note", "price"]
ROWS = [["Milton", f"house {row}", f"{200_000 + row}"] for row in range(60)]


@pytest.fixture
def read(tmp_path: Path) -> SalesReader:
    return SalesReader(tmp_path / "sales.csv")


class SalesReader:
    """Reads text as a sales file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, text: str, encoding: str = "utf-8") -> SalesTable:
        self.path.write_text(text, encoding=encoding, newline="")
        return SalesFile(self.path).read()


def lines(rows: Sequence[Sequence[str]], delimiter: str = ",", end: str = "\n") -> str:
    return "".join(delimiter.join(row) + end for row in rows)


def rows_of(table: SalesTable) -> list[list[object]]:
    return [list(row) for row in zip(*table.columns.values(), strict=True)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "~", "^"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
def test_csv_with_common_delimiters_and_line_ends_is_read(read: SalesReader, delimiter: str, end: str) -> None:
    table = read(lines([HEADER, *ROWS], delimiter, end))
    assert (list(table.columns), rows_of(table), table.notes) == (HEADER, ROWS, ())


@pytest.mark.parametrize("form", ["{} {} {}\n", "{:12} {:>9}   {:>9}\n", "  {:12} {:>9}   {:>9}  \n"], ids=repr)
def test_csv_with_columns_separated_by_blanks_is_read(read: SalesReader, form: str) -> None:
    rows = [["Milton", f"{900 + row}", f"{200_000 + row}"] for row in range(40)]
    table = read("".join(form.format(*row) for row in [["town", "sqft", "price"], *rows]))
    assert (list(table.columns), rows_of(table), table.rejected) == (["town", "sqft", "price"], rows, {})


@pytest.mark.parametrize("delimiter", [" ", ",", "\t"], ids=repr)
def test_csv_row_names_from_r_get_their_own_column(read: SalesReader, delimiter: str) -> None:
    quoted = [[f'"{number}"', f'"{town}"', f'"{note}"', price] for number, (town, note, price) in enumerate(ROWS, 1)]
    table = read(lines([[f'"{name}"' for name in HEADER], *quoted], delimiter))
    assert list(table.columns) == ["column 1", *HEADER]
    assert rows_of(table) == [[str(number), *row] for number, row in enumerate(ROWS, 1)]


@pytest.mark.parametrize(("after_header", "after_rows"), [("", ","), (",", ""), (",", ","), ("", ",,"), (",,", ",")])
def test_csv_trailing_delimiters_are_ignored(read: SalesReader, after_header: str, after_rows: str) -> None:
    table = read(f"town,note,price{after_header}\n" + lines(ROWS, end=f"{after_rows}\n"))
    assert (list(table.columns), rows_of(table), table.rejected) == (HEADER, ROWS, {})


def test_csv_rows_with_wrong_field_count_are_reported(read: SalesReader) -> None:
    table = read("town,note,price\n" + "A,1\nB,1,2,3\n\n" + lines(ROWS) + 'C,"1\n1",2,3\nD\n')
    assert (rows_of(table), table.rejected) == (ROWS, {WRONG_FIELD_COUNT: 4})
    assert table.notes == (
        "the header has 3 fields, but some rows have more or fewer: line 2 has 2, line 3 has 4, line 65 has 4, …",
    )
    with pytest.raises(
        UnusableSales, match=r'has no row that matches its header, "a,b": .* 2 .*: line 2 has 3, line 3 has 1$'
    ):
        read("a,b\n1,2,3\n1\n")


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        ('"a 7" pipe",', 'a 7" pipe'),
        ('"a pipe of 7"",', 'a pipe of 7"'),
        ('"a ""pair"" and a 7" pipe",', 'a "pair" and a 7" pipe'),
        ('"never closed,', '"never closed'),
        ('"one", two,', None),
    ],
)
@pytest.mark.parametrize("others", ["{}", '"{}"'], ids=["plain", "quoted"])
def test_csv_with_unpaired_quotes_is_read(read: SalesReader, cells: str, note: str | None, others: str) -> None:
    rows = [[town, others.format(text), price] for town, text, price in ROWS]
    table = read(lines([HEADER, *rows[:30]]) + f"Milton,{cells}1\n" + lines(rows[30:]))
    broken = [] if note is None else [["Milton", note, "1"]]
    assert rows_of(table) == [*ROWS[:30], *broken, *ROWS[30:]]
    if note is not None:
        assert table.notes == ("1 row (line 32) with unbalanced quotes, which were read literally",)
    else:
        assert table.rejected == {WRONG_FIELD_COUNT: 1}


def test_csv_quote_closed_many_rows_later_loses_no_row(read: SalesReader) -> None:
    rows = [*ROWS[:10], ["Milton", '"open', "1"], *ROWS[10:40], ["Milton", 'shut"', "2"], *ROWS[40:]]
    table = read(lines([HEADER, *rows]))
    assert (rows_of(table), table.rejected) == (rows, {})


def test_csv_inner_quotes_and_quoted_line_breaks_are_text(read: SalesReader) -> None:
    table = read('town,note,price\nMilton,7" pipe,1\nMilton,"two\nlines, and ""more""",2\n')
    assert rows_of(table) == [["Milton", '7" pipe', "1"], ["Milton", 'two\nlines, and "more"', "2"]]
    assert table.notes == ()


def test_csv_nul_characters_are_removed_and_reported(read: SalesReader) -> None:
    table = read(lines([HEADER, *ROWS]).replace("house 5,", "house\0 5,"))
    assert rows_of(table) == ROWS
    assert table.notes == ("1 line (line 7) with NUL characters, which were removed",)


def test_csv_cells_of_any_length_are_read(read: SalesReader) -> None:
    shape = "POLYGON ((" + "1 2, " * 60_000 + "1 2))"
    table = read("town,shape,price\n" + "".join(f'Milton,"{shape}",{row}\n' for row in range(3)))
    assert table.columns["shape"] == [shape] * 3
    assert csv_table(f'id,shape\n1,"{shape}"\n'.encode(), InvalidSales).rows == [["1", shape]]


@pytest.mark.parametrize("text", ['"a,' * 400_000, '"' + 'a" ' * 400_000, '"' + " " * 1_000_000])
def test_csv_with_many_unpaired_quotes_takes_linear_time(text: str) -> None:
    started = time.process_time()
    csv_table(f"id,shape\n{text}\n".encode(), InvalidSales)
    assert time.process_time() - started < 10


@pytest.mark.parametrize("cell", ["1" + " " * 500_000 + "2", "2015-05-27" + " " * 500_000 + "x", "1," * 250_000 + "x"])
@pytest.mark.parametrize("kind", list(Kind))
def test_csv_with_long_cell_takes_linear_time(cell: str, kind: Kind) -> None:
    started = time.process_time()
    houses = read_houses_csv(
        f'id,cell\n1,"{cell}"\n'.encode(), FeatureSchema((Feature("id", kind), Feature("cell", kind))), 1000
    )
    assert [dict(house)["cell"] for house in houses if isinstance(house, dict)] == [cell]
    assert time.process_time() - started < 10


def test_csv_long_row_does_not_widen_other_rows() -> None:
    content = b"prediction,price,date\n" + b"," * 100_000 + b"x\n" + b"a,1,2\n" * 50_000
    tracemalloc.start()
    long, *others = read_sales_csv(content)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (long, len(others)) == ({"column 100001": "x"}, 50_000)
    assert most < 100_000_000


cells = st.text(st.characters(codec="cp1250", exclude_categories=["Cc"]), max_size=8) | st.sampled_from(
    ["a\nb", "a\r\nb, c", '"', 'a "b" c', '7"', ",", ";", "\t", "~", "^", "|", "1,5"]
)


@given(
    rows=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=6)
    ),
    delimiter=st.sampled_from(",;\t|~^"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1250", "gb18030"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_csv_round_trips(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    delimiter: str,
    encoding: str,
    quoting: int,
    end: str,
) -> None:
    assume(any(cell.strip() for cell in rows[0]))
    header = [f"name{position}" for position in range(len(rows[0]))]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows([header, *rows])  # type: ignore[arg-type]  # one of csv's constants
    file = tmp_path_factory.getbasetemp() / "written.csv"
    file.write_bytes(text.getvalue().encode(encoding))
    table = SalesFile(file, encoding if encoding in ("cp1250", "gb18030") else None).read()
    assert list(table.columns) == header
    expected = [[tidy(cell) or None for cell in row] for row in rows if any(cell.strip() for cell in row)]
    assert rows_of(table) == expected
    assert (table.rejected, table.notes) == ({}, ())


@given(
    titles=st.lists(
        st.sampled_from(["Sales of 2024", "As of 9/14/2016  Co-op Sales", '"a title, quoted"', "2024"]),
        min_size=1,
        max_size=6,
    ),
    padded=st.booleans(),
    blank=st.booleans(),
    delimiter=st.sampled_from(",;\t|"),
    width=st.integers(3, 8),
)
def test_title_rows_above_header_are_skipped_and_counted(
    tmp_path_factory: pytest.TempPathFactory, titles: list[str], padded: bool, blank: bool, delimiter: str, width: int
) -> None:
    header = [f"name {position}" for position in range(width)]
    rows = [[f"cell {row} {position}" for position in range(width)] for row in range(20)]
    end = delimiter * (width - 1) * padded + "\n"
    above = "".join(title + end for title in titles) + end * blank
    file = tmp_path_factory.getbasetemp() / "titled.csv"
    file.write_text(above + lines([header, *rows], delimiter), newline="")
    table = SalesFile(file).read()
    assert (list(table.columns), rows_of(table), table.rejected) == (header, rows, {})
    skipped = f"{len(titles)} title row{'s' if len(titles) > 1 else ''} above the header skipped"
    assert table.notes == (skipped,)


def test_line_numbers_count_title_rows(read: SalesReader) -> None:
    table = read("A title\n\nprice,size,beds\n1,2,3\n4,5\n6,7,8\n")
    assert table.notes == (
        "1 title row above the header skipped",
        "the header has 3 fields, but some rows have more or fewer: line 5 has 2",
    )


@pytest.mark.parametrize("header", ["price", "price,,,,,,", "price,size,,,,,"])
def test_short_header_is_not_a_title_row(read: SalesReader, header: str) -> None:
    with pytest.raises(UnusableSales, match="price"):
        read(f"{header}\n" + "1,2,3,4,5,6,7\n" * 5)


def test_rows_that_repeat_the_header_are_skipped_and_counted(read: SalesReader) -> None:
    table = read(lines([HEADER, *ROWS[:30], HEADER, *ROWS[30:], HEADER]))
    assert (rows_of(table), table.rejected) == (ROWS, {})
    assert table.notes == ("2 rows repeating the header skipped",)
