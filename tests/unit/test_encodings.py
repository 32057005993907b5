"""The encoding of a file is told by its bytes, reported, and can be overruled."""

from __future__ import annotations

import codecs
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.encodings import detect, named
from housepredict.adapters.sales_files import SalesFile
from housepredict.adapters.tables import TableFile
from housepredict.domain.errors import UnusableSales

PLACES = {
    "gb18030": ["朝阳", "海淀", "浦东新区", "徐汇", "天河", "武侯", "未央", "雨花台"],
    "cp1251": ["Москва", "Хамовники", "Арбат", "Пресня", "Южное Бутово", "Київ"],
    "cp866": ["Москва", "Хамовники", "Арбат", "Пресня"],
    "cp1250": ["Žižkov", "Łódź", "Mokotów", "Kraków", "Holešovice", "Újpest", "Čakovec", "Břevnov"],
    "iso8859_2": ["Žižkov", "Łódź", "Mokotów", "Kraków"],
    "mac_roman": ["Málaga", "Córdoba", "Nîmes", "Köln", "Zürich", "São Paulo"],
    "cp1252": ["Málaga", "Córdoba", "Nîmes", "Köln", "Zürich", "O\u2019Fallon", "100 m²"],
    "cp1253": ["Αθήνα", "Θεσσαλονίκη", "Πάτρα"],
    "cp1254": ["Be\u015fikta\u015f", "\u015ei\u015fli", "Üsküdar", "Kad\u0131köy"],
    "cp932": ["渋谷区", "新宿区", "港区", "世田谷区", "タワー"],
    "big5": ["大安區", "信義區", "中山區", "士林區"],
    "cp949": ["강남구", "서초구", "송파구", "마포구"],
}
NAMES = {
    "gb18030": "GB18030", "cp1251": "Windows-1251", "cp866": "CP866", "cp1250": "Windows-1250",
    "iso8859_2": "ISO-8859-2", "mac_roman": "Mac Roman", "cp1252": "Windows-1252", "cp1253": "Windows-1253",
    "cp1254": "Windows-1254", "cp932": "Shift-JIS", "big5": "Big5", "cp949": "EUC-KR",
}  # fmt: skip


def table_of(places: Sequence[str], rows: int = 60) -> str:
    draw = random.Random(7)
    lines = [
        f"{places[row % len(places)]},{draw.randint(700, 4000)},{draw.randint(100, 900)}000" for row in range(rows)
    ]
    return "\n".join(["town,sqft,price", *lines]) + "\n"


@pytest.mark.parametrize("encoding", PLACES)
@pytest.mark.parametrize("count", [2, 3, 99])
def test_text_is_read_in_the_encoding_that_its_words_show(tmp_path: Path, encoding: str, count: int) -> None:
    places = PLACES[encoding][:count]
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(places).encode(encoding))
    table = SalesFile(file).read()
    assert set(table.columns["town"]) == set(places)
    assert table.notes == (f"read as {NAMES[encoding]} (guessed; overrule with --encoding)",)


@given(st.sampled_from(sorted(PLACES)), st.data())
def test_a_named_encoding_is_read_whatever_the_bytes_look_like(
    tmp_path_factory: pytest.TempPathFactory, encoding: str, data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.sampled_from(PLACES[encoding]), min_size=1, max_size=3))
    file = tmp_path_factory.getbasetemp() / "named.csv"
    file.write_bytes(table_of(places, 5).encode(encoding))
    table = SalesFile(file, encoding).read()
    assert set(table.columns["town"]) == set(places)
    assert table.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf_with_its_mark_is_read_without_a_word(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(["Málaga", "朝阳"]).encode(encoding))
    table = SalesFile(file).read()
    assert (list(table.columns), set(table.columns["town"])) == (["town", "sqft", "price"], {"Málaga", "朝阳"})
    assert table.notes == ()


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_utf_of_the_other_byte_order_is_read(tmp_path: Path, bom: bytes) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(bom + table_of(["Málaga"]).encode("utf-16-be" if len(bom) == 2 else "utf-32-be"))
    assert set(SalesFile(file).read().columns["town"]) == {"Málaga"}


def test_utf_8_with_a_damaged_byte_stays_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(["Málaga", "Köln"]).encode() + b"K\xf6ln,1000,100000\n")
    table = SalesFile(file).read()
    assert set(table.columns["town"]) == {"Málaga", "Köln", "K\ufffdln"}
    assert table.notes == ("read as UTF-8, of which 1 byte is damaged (shown as \ufffd)",)


def test_one_word_is_too_little_to_tell_and_read_as_windows_1252(tmp_path: Path) -> None:
    assert detect([table_of(["Köln"]).encode("mac_roman")]) == detect([table_of(["Kšln"]).encode("cp1252")])


@given(st.binary(max_size=200), st.integers(1, 50))
def test_detection_does_not_depend_on_how_bytes_are_cut(content: bytes, size: int) -> None:
    found, whole = detect([content[at : at + size] for at in range(0, len(content), size)]), detect([content])
    assert found is None or whole is None or (found.codec == "utf-8") == (whole.codec == "utf-8") or size < 4


@given(st.text(st.characters(codec="utf-8"), max_size=50), st.integers(1, 9))
def test_utf_8_is_utf_8_however_it_is_cut(text: str, size: int) -> None:
    content = ("x" * 99 + text.replace("\0", "")).encode()
    found = detect([content[at : at + size] for at in range(0, len(content), size)])
    assert found is not None
    assert (found.codec, found.note) == ("utf-8", None)


def test_unknown_encoding_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text("price,size\n1,2\n")
    for encoding in "utf-9", "zip":
        with pytest.raises(UnusableSales, match=f"there is no encoding '{encoding}'"):
            SalesFile(file, encoding).read()
    with pytest.raises(UnusableSales, match="is no text in utf-16"):
        SalesFile(file, "utf-16").read()


def test_named_utf_8_drops_its_mark() -> None:
    assert b"\xef\xbb\xbfa".decode(named("UTF8").codec) == "a"


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 9, b"PK\3\4" + bytes(range(255, 0, -1)) * 9], ids=["any", "zip"]
)
def test_binary_content_is_no_text(tmp_path: Path, content: bytes) -> None:
    assert detect([content]) is None
    assert TableFile(tmp_path / "none").encoding is None
