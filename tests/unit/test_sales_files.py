"""Sales files from the wild: read completely, or rejected with advice."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from housepredict.adapters.files.sales_file import WRONG_FIELD_COUNT, SalesFile
from housepredict.domain.errors import MissingExtra, UnusableSales
from housepredict.domain.sales import SalesTable
from housepredict.domain.validation import tidy

EXAMPLES = Path(__file__).parents[2] / "examples"

Read = Callable[[bytes], SalesTable]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    path = tmp_path_factory.mktemp("sales") / "sales"

    def read_content(content: bytes) -> SalesTable:
        path.write_bytes(content)
        return SalesFile(path).read()

    return read_content


def test_example_file_is_read_completely() -> None:
    table = SalesFile(EXAMPLES / "king_county_sales.csv.gz").read()
    assert (len(table), len(table.columns), table.rejected) == (21613, 21, {})
    assert [table.columns[name][0] for name in ("id", "price", "lat")] == ["7129300520", "221900", "47.5112"]


def test_location_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SalesFile(Path("sales.csv")).location == str(tmp_path / "sales.csv")


def test_cells_are_stripped_and_none_if_empty(read: Read) -> None:
    table = read(b'price, size ,kind\n 100 ,,"a, b"\n200,"  ", "c ""d"""\n')
    assert dict(table.columns) == {"price": ["100", "200"], "size": [None, None], "kind": ["a, b", 'c "d"']}
    assert list(table.columns) == ["price", "size", "kind"]


def test_digest_covers_compressed_file(read: Read) -> None:
    content = gzip.compress(b"price\n1\n")
    assert read(content).digest == hashlib.sha256(content).hexdigest()


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=6)
cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6) | st.sampled_from(
    ["a\nb", "a\r\nb", '"', ",", ";", "\t", "1.5"]
)


@given(
    header=st.lists(names, min_size=2, max_size=4, unique_by=tidy),
    data=st.data(),
    delimiter=st.sampled_from(",;\t|"),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
    compress=st.sampled_from([bytes, gzip.compress]),
)
def test_csv_written_by_a_program_is_read_back(
    read: Read,
    header: list[str],
    data: st.DataObject,
    delimiter: str,
    newline: str,
    encoding: str,
    compress: Callable[[bytes], bytes],
) -> None:
    # Names that contain other delimiters would make the file ambiguous.
    assume(not any(other in name for other in ",;\t|" for name in header))
    rows = data.draw(st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), min_size=1, max_size=5))
    assume(any(cell.strip() for cell in rows[0]))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows([header, *rows])
    table = read(compress(text.getvalue().encode(encoding)))
    assert list(table.columns) == list(map(tidy, header))
    expected = [[tidy(cell) or None for cell in row] for row in rows if any(cell.strip() for cell in row)]
    assert [list(row) for row in zip(*table.columns.values(), strict=True)] == expected
    assert table.rejected == {}


@pytest.mark.parametrize(
    "text",
    [
        "price;size\n1,5;2\n3;4,5\n",
        "price\tsize\n1,5\t2\n3\t4,5\n",
        "price|size\n1,5|2\n3|4,5\n",
        "\n  \nprice;size\n1,5;2\n\n;\n3;4,5\n\n",
    ],
)
def test_delimiter_is_found_despite_decimal_commas_and_blank_lines(read: Read, text: str) -> None:
    table = read(text.encode())
    assert (list(table.columns.values()), table.rejected) == ([["1,5", "3"], ["2", "4,5"]], {})


def test_single_column_needs_no_delimiter(read: Read) -> None:
    assert dict(read(b"price\r1\r2").columns) == {"price": ["1", "2"]}


def test_text_not_in_utf_8_is_read_as_windows_1252(read: Read) -> None:
    lines = ["price,straße", *["1,plain"] * 10_000, "2,größe €"]
    table = read("\n".join(lines).encode("cp1252"))
    assert (len(table), table.columns["straße"][-1]) == (10_001, "größe €")


def test_rows_with_wrong_field_count_are_counted_once(read: Read) -> None:
    text = "price,size\n1,2\n3\n4,5,6\n7,8\n" + "9,ü\n" * 10_000
    for encoding in "utf-8", "cp1252":
        table = read(text.encode(encoding))
        assert table.columns["price"][:3] == ["1", "7", "9"]
        assert table.rejected == {WRONG_FIELD_COUNT: 2}


def test_unnamed_column_gets_its_number(read: Read) -> None:
    assert list(read(b",price,size\n0,1,2\n").columns) == ["column 1", "price", "size"]
    assert list(read(b"price,size,\n1,2,\n3,4,5\n").columns) == ["price", "size", "column 3"]


@pytest.mark.parametrize("ends", [",", ",,", ", ,,"])
def test_empty_trailing_columns_are_dropped(read: Read, ends: str) -> None:
    table = read(f"price,size{ends}\n1,2{ends}\n3,4\n5,6{ends},7\n".encode())
    assert (dict(table.columns), table.rejected) == ({"price": ["1", "3"], "size": ["2", "4"]}, {WRONG_FIELD_COUNT: 1})


@pytest.mark.parametrize("line", ["sep=;\r\n", "SEP=;\n", '"sep=;"\n', "\ufeffsep=;\r", "sep=\t\n", "sep=^\n"])
def test_sep_line_of_excel_sets_delimiter(read: Read, line: str) -> None:
    delimiter = line.strip('\ufeff\r\n"')[4:]
    content = f"{line}price;a,b\n1,5;2,5\n".replace(";", delimiter).encode()
    assert dict(read(content).columns) == {"price": ["1,5"], "a,b": ["2,5"]}
    assert read(f'{line.rstrip()}\nprice\n"3"x\n'.encode()).notes == (
        "1 row (line 3) with unbalanced quotes, which were read literally",
    )


def test_header_with_too_few_names_is_shown_in_error(read: Read) -> None:
    for header in "price,,,,,,", "price":
        with pytest.raises(UnusableSales, match=f'header, "{header}"|number of fields|"price"'):
            read(f"{header}\n1,2,3,4,5,6,7\n8,9,10,11,12,13,14\n".encode())
    with pytest.raises(UnusableSales, match=r'header, "x{99}…": .* has 1 field,.*: line 2 has 3, line 3 has 3$'):
        read(b"x" * 5000 + b"\n1,2,3\n4,5,6\n")


def test_repeated_cells_share_memory(read: Read) -> None:
    cells = read(b"kind,price\n" + b"a long house,1\n" * 1000).columns["kind"]
    assert len({id(cell) for cell in cells}) == 1


@pytest.mark.parametrize(
    ("content", "what_to_do"),
    [
        (b"", "is empty"),
        (b"\n \n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"price,size\n", "has a header but no sales"),
        (b"price,size\n1\n2\n", 'has no row that matches its header, "price,size": the header has 2 fields'),
        (b"price,size,price,size\n1,2,3,4\n", "rename price, size$"),
        (b"column 2,\n1,2\n", "rename column 2$"),
        (b"price,,size,\n1,2,3,4\n", "columns 2, 4 have no name: name them"),
        (b"price,size,size,,\n1,2,3,4,5\n", "columns 4, 5 have no name: name them; .* rename size$"),
        (b"price,size\n1,2\n\0\0,3\n", "export it as CSV in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "export it as CSV in UTF-8"),
        (b"PK\x03\x04\x14\0\x06\0", "export it as CSV in UTF-8"),
        (
            gzip.compress(b"price\n" + b"1\n" * 999, mtime=0)[:-10],
            "is a damaged or incomplete gzip file .*: copy it again",
        ),
        (b"\x1f\x8bnot gzip at all", "is a damaged or incomplete gzip file .*: copy it again"),
        (
            gzip.compress(b"price\n1\n", mtime=0)[:-8] + b"\0" * 8,
            "is a damaged or incomplete gzip file .*: copy it again",
        ),
        (b"PAR1", "is not a readable Parquet file"),
        (b"PAR1 and then something else, PAR1", "is not a readable Parquet file"),
    ],
    ids=range(17),
)
def test_unreadable_file_is_rejected_with_advice(read: Read, content: bytes, what_to_do: str) -> None:
    with pytest.raises(UnusableSales, match=what_to_do):
        read(content)


def test_missing_file_or_folder_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnusableSales, match=r"There is no file .*missing\.csv: check the path"):
        SalesFile(tmp_path / "missing.csv").read()
    with pytest.raises(UnusableSales, match="is a directory: name a file in it"):
        SalesFile(tmp_path).read()
    (tmp_path / "file").touch()
    with pytest.raises(UnusableSales, match=r"cannot be read: .*Not a directory"):
        SalesFile(tmp_path / "file" / "sales.csv").read()


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda tail: b"PAR1" + tail + b"PAR1"))
def test_random_content_is_read_or_rejected(read: Read, content: bytes) -> None:
    with suppress(UnusableSales):
        assert len({len(column) for column in read(content).columns.values()}) == 1


def parquet(**columns: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def test_parquet_keeps_types(read: Read) -> None:
    late = datetime(2020, 1, 2, 3, 4, tzinfo=UTC)
    nanosecond = 1_577_934_240_123_456_789
    table = read(
        parquet(
            whole=[1, None],
            number=[1.5, float("nan")],
            flag=[True, None],
            text=[" a ", ""],
            category=pa.array(["a", None]).dictionary_encode(),
            day=[date(2020, 1, 2), None],
            time=pa.array([nanosecond, None], pa.timestamp("ns")),
            local=pa.array([late, None], pa.timestamp("ns", tz="America/Los_Angeles")),
            exact=[Decimal("1.50"), None],
            other=[[1, 2], None],
        )
    )
    rows = [[(type(cell), cell) for cell in column] for column in table.columns.values()]
    nothing = (type(None), None)
    assert dict(zip(table.columns, rows, strict=True)) == {
        "whole": [(int, 1), nothing],
        "number": [(float, 1.5), nothing],
        "flag": [(bool, True), nothing],
        "text": [(str, "a"), nothing],
        "category": [(str, "a"), nothing],
        "day": [(date, date(2020, 1, 2)), nothing],
        "time": [(date, date(2020, 1, 2)), nothing],
        "local": [(date, date(2020, 1, 1)), nothing],
        "exact": [(float, 1.5), nothing],
        "other": [(str, "[1, 2]"), nothing],
    }
    assert table.rejected == {}


@pytest.mark.parametrize(
    ("content", "what_to_do"),
    [
        (parquet(price=pa.array([], pa.int64())), "has a header but no sales"),
        (parquet(price=[1, 2, 3])[:-20], "footer.*: export it again, or as CSV"),
    ],
    ids=["no rows", "cut off"],
)
def test_parquet_that_is_unusable_is_rejected(read: Read, content: bytes, what_to_do: str) -> None:
    with pytest.raises(UnusableSales, match=what_to_do):
        read(content)


def test_parquet_without_extra_names_it(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install '\.\[parquet\]'"):
        read(parquet(price=[1]))


def test_pipe_is_rejected_unread(tmp_path: Path) -> None:
    pipe = tmp_path / "sales.csv"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        os.write(writer, b"price\n1\n")
        with pytest.raises(UnusableSales, match=r"sales\.csv is not a regular file: save it to one first"):
            SalesFile(pipe).read()
        assert os.read(reader, 99) == b"price\n1\n"
    finally:
        os.close(writer)
        os.close(reader)
