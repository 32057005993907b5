"""Realized sales in CSV."""

from __future__ import annotations

import csv
import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.files.sales_file import read_sales_csv
from housepredict.adapters.files.table_file import csv_table
from housepredict.domain.errors import InvalidSales
from housepredict.domain.validation import Rule
from housepredict.testing.drawing import prices

ID = "01970000-0000-7000-8000-000000000001"
SALE = {"prediction": ID, "price": 200000.5, "date": "2025-05-30"}


@pytest.mark.parametrize(
    "content",
    [
        f"prediction,price,date\n{ID},200000.5,2025-05-30\n",
        f"id,price,date\r\n{ID},200000.50,2025-05-30\r\n",
        f"prediction_id,price,date\n{ID},200000.5,2025-05-30\n",
        f"\ufeffDate, Price, ID\n\n2025-05-30 , 200000.5, {ID}",
        f'"prediction";"price";"date"\n"{ID}";"200000.5";"2025-05-30"\n\n',
        f"prediction,price,date\n{ID},2.000005e5,2025-05-30",
    ],
)
def test_sales_csv_is_read_in_any_form(content: str) -> None:
    assert read_sales_csv(content.encode()) == [SALE]


@pytest.mark.parametrize("text", ["\u2028", "\u2029", "\x85", "\f", "\v", "\x1c", "\x1d", "\x1e", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=ascii)
def test_rows_end_only_at_csv_line_ends(text: str, end: str) -> None:
    cell = f"Main{text}Street"
    written = f'"{cell}"' if text.strip("\r\n") == "" else cell
    content = end.join(["70,a", f"71,{written}", "72,c", ""]).encode()
    table = csv_table(content, InvalidSales)
    assert (table.header, table.rows) == (["70", "a"], [["71", cell], ["72", "c"]])


def test_header_without_rows_has_no_sales() -> None:
    assert read_sales_csv(b"prediction,price,date\n") == []


def test_cells_are_read_as_in_training_files() -> None:
    content = f"prediction,price,date\n{ID},200.000,n/a\n{ID},€ 5,30.05.2025\n,NaN,5.6.25\n{ID},1_000,x\n"
    assert read_sales_csv(content.encode()) == [
        {"prediction": ID, "price": 200000},
        {"prediction": ID, "price": 5, "date": "2025-05-30"},
        {"date": "5.6.25"},
        {"prediction": ID, "price": "1_000", "date": "x"},
    ]


@pytest.mark.parametrize("price", ["200,000.50", "200.000,50", "$200,000.50", "200 000,50 €", "200000,5", "2.000005e5"])
@pytest.mark.parametrize("day", ["2025-05-30", "30.05.2025", "5/30/2025", "30 May 2025", "2025-05-30 00:00:00"])
def test_sale_is_read_in_any_number_and_date_format(price: str, day: str) -> None:
    assert read_sales_csv(f"id;price;date\n{ID};{price};{day}\n".encode()) == [SALE]


def test_ambiguous_date_is_passed_on_unchanged() -> None:
    (sale,) = read_sales_csv(f"id,price,date\n{ID},5,03/04/2025\n".encode())
    assert sale == {"prediction": ID, "price": 5, "date": "03/04/2025"}


def test_extra_cell_gets_column_number_as_name() -> None:
    content = f"prediction,price,date\n{ID},200,000,2025-05-30\n{ID},5\n"
    assert read_sales_csv(content.encode()) == [
        {"prediction": ID, "price": 200, "date": "000", "column 4": "2025-05-30"},
        {"prediction": ID, "price": 5},
    ]


@pytest.mark.parametrize(
    ("content", "broken"),
    [
        (b"", [("/prediction", Rule.MISSING), ("/price", Rule.MISSING), ("/date", Rule.MISSING)]),
        (
            b"prediction,price,price,when\n",
            [("/when", Rule.UNKNOWN), ("/price", Rule.DUPLICATE), ("/date", Rule.MISSING)],
        ),
        (b"id,prediction,price,date\n", [("/prediction", Rule.DUPLICATE)]),
        (b"prediction,price,date\n\xff", [("", Rule.TYPE)]),
        (b"PK\x03\x04", [("", Rule.TYPE)]),
    ],
)
def test_invalid_sales_csv_is_rejected(content: bytes, broken: list[tuple[str, Rule]]) -> None:
    with pytest.raises(InvalidSales) as caught:
        read_sales_csv(content)
    assert [(each.pointer, each.rule) for each in caught.value.violations] == broken


@given(
    rows=st.lists(st.tuples(st.uuids().map(str), prices, st.dates().map(str)), max_size=5),
    delimiter=st.sampled_from(",;"),
    order=st.permutations(("prediction", "price", "date")),
)
def test_written_sales_are_read_back(rows: list[tuple[str, float, str]], delimiter: str, order: list[str]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, order, delimiter=delimiter)
    writer.writeheader()
    sales = [{"prediction": prediction, "price": price, "date": day} for prediction, price, day in rows]
    writer.writerows(sales)
    assert read_sales_csv(text.getvalue().encode()) == sales


@given(content=st.binary() | st.text().map(str.encode))
def test_random_bytes_are_read_or_rejected(content: bytes) -> None:
    with suppress(InvalidSales):
        read_sales_csv(b"prediction,price,date\n" + content)
