"""The encoding of a file is detected from its bytes, reported, and can be set by name."""

from __future__ import annotations

import codecs
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from housepredict.adapters.files.delimited import detect, named
from housepredict.adapters.files.sales_file import SalesFile
from housepredict.adapters.files.table_file import TableFile
from housepredict.domain.errors import UnusableSales

# Each row has place names of one country and the encodings that programs there export.
PLACES = {
    ("cp1252", "iso8859_15", "mac_roman", "cp850"): ["Málaga", "Córdoba", "León", "Cádiz", "A Coruña", "Ávila"],
    ("cp1252", "iso8859_15", "mac_roman"): ["Genève", "Orléans", "Saint-Étienne", "Besançon", "Béziers", "Évreux"],
    ("cp1252", "mac_roman", "cp850"): ["Nürnberg", "Gießen", "Füssen", "Königstein", "Düsseldorf", "Köln"],
    ("cp1250", "iso8859_2", "cp852", "mac_latin2"): ["Śródmieście", "Żoliborz", "Łódź", "Poznań", "Wrocław", "Toruń"],
    ("cp1250", "iso8859_2", "cp852"): ["Plzeň", "České Budějovice", "Děčín", "Žďár", "Kroměříž", "Vršovice"],
    ("iso8859_2", "cp1250", "cp852"): ["Győr", "Székesfehérvár", "Kőbánya", "Hódmezővásárhely", "Gödöllő", "Pécs"],
    ("cp1251", "koi8_r", "cp866", "iso8859_5", "mac_cyrillic"): ["Хамовники", "Арбат", "Южное Бутово", "ул. Ленина"],
    ("cp1251", "koi8_u"): ["Вінниця", "Чернівці", "Тернопіль", "Рівне", "Львів", "Київ"],
    ("cp1253", "iso8859_7"): ["Αθήνα", "Θεσσαλονίκη", "Πάτρα", "Γλυφάδα"],
    ("cp1255",): ["באר שבע", "פתח תקווה", "חולון", "הרצליה", "דירה"],
    ("cp1256",): ["الرياض", "جدة", "الدمام", "القاهرة", "شقة"],
    ("cp1254", "iso8859_9"): ["Beşiktaş", "Şişli", "Kad\u0131köy", "Ataşehir", "Üsküdar"],
    ("cp1257",): ["Jūrmala", "Liepāja", "Ķengarags", "Pļavnieki", "Rīga"],
    ("cp874",): ["กรุงเทพ", "เชียงใหม่", "ภูเก็ต", "นนทบุรี"],
    ("gb18030", "gbk"): ["朝阳", "海淀", "浦东新区", "徐汇", "天河", "武侯", "未央", "雨花台"],
    ("big5",): ["大安區", "信義區", "中山區", "士林區"],
    ("cp932", "shift_jis", "euc_jp"): ["さいたま市", "渋谷区", "世田谷区", "タワー", "木造"],
    ("cp949", "euc_kr"): ["강남구", "서초구", "송파구", "마포구"],
}  # fmt: skip
CASES = [(codec, places) for encodings, places in PLACES.items() for codec in encodings]


def table_of(places: Sequence[str], rows: int = 60) -> str:
    draw = random.Random(7)
    lines = [
        f"{places[row % len(places)]},{draw.randint(700, 4000)},{draw.randint(100, 900)}000" for row in range(rows)
    ]
    return "\n".join(["town,sqft,price", *lines]) + "\n"


@pytest.mark.parametrize(("encoding", "places"), CASES)
@pytest.mark.parametrize("count", [3, 99])
def test_encoding_is_detected_from_words(tmp_path: Path, encoding: str, places: list[str], count: int) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(places[:count]).encode(encoding))
    table = SalesFile(file).read()
    assert set(table.columns["town"]) == set(places[:count])
    assert [note.endswith(" (guessed; set `encoding` to overrule)") for note in table.notes] == [True]


@pytest.mark.parametrize(
    "cells",
    [
        ["m²"], ["4 m\xd75 m"], ["1\xa0200\xa0€", "100 m²"], ["O\u2019Fallon", "Coeur d\u2019Alene"],
        ["½ acre", "¼ acre"], ["Kitchen \u2013 new", "\u201cas is\u201d", "garden…"], ["Nº 3", "2ª planta"], ["§ 5"],
        ["café"], ["Cañon City"], ["Montréal", "Québec", "Trois-Rivières"], ["København"], ["São Paulo"],
    ],
)  # fmt: skip
def test_few_symbols_and_accents_default_to_windows_1252(cells: list[str]) -> None:
    encoding = detect([table_of(cells).encode("cp1252")])
    assert encoding is not None
    assert (encoding.codec, encoding.note) == ("cp1252", "read as Windows-1252 (guessed; set `encoding` to overrule)")


def test_encoding_detection_ignores_a_few_unusual_words() -> None:
    places = [
        "ЖК «Алые паруса»",
        "№5",
        "Sky-дом",
        "3-комн.",
        "42 кв.м",
        "мкр. 12",
        "м²",
        "без отделки",
        "метро Аэропорт",
    ]
    content = table_of(places).encode("cp1251", "replace")
    encoding = detect([content])
    assert encoding is not None
    assert content.decode(encoding.codec) == content.decode("cp1251")


@given(st.sampled_from(CASES), st.data())
def test_named_encoding_overrides_detection(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[str, list[str]], data: st.DataObject
) -> None:
    encoding, case_places = case
    places = data.draw(st.lists(st.sampled_from(case_places), min_size=1, max_size=3))
    file = tmp_path_factory.getbasetemp() / "named.csv"
    file.write_bytes(table_of(places, 5).encode(encoding))
    table = SalesFile(file, encoding).read()
    assert set(table.columns["town"]) == set(places)
    assert table.notes == ()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_and_32_without_bom_are_reported(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(["Málaga", "朝阳"]).encode(encoding))
    table = SalesFile(file).read()
    assert (list(table.columns), set(table.columns["town"])) == (["town", "sqft", "price"], {"Málaga", "朝阳"})
    assert table.notes == (f"read as {encoding} (guessed; set `encoding` to overrule)",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf_with_bom_is_read_without_a_note(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(["Málaga", "朝阳"]).encode(encoding))
    table = SalesFile(file).read()
    assert (list(table.columns), set(table.columns["town"])) == (["town", "sqft", "price"], {"Málaga", "朝阳"})
    assert table.notes == ()


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["named", "marked"])
@pytest.mark.parametrize("places", [["Zürich"], ["Zürich", "Zörich", "Zug\ufffd"]], ids=len)
def test_invalid_bytes_are_counted_by_line(tmp_path: Path, mark: bytes, places: list[str]) -> None:
    file = tmp_path / "sales.csv"
    lines = [f"{place},{row}".encode("utf-8" if "\ufffd" in place else "cp1252") for row, place in enumerate(places)]
    file.write_bytes(mark + b"\n".join([b"town,price", *lines]))
    table = SalesFile(file, None if mark else "utf-8").read()
    assert set(table.columns["town"]) == {"Z\ufffdrich", *places} - {"Zürich", "Zörich"}
    count = "1 line has" if len(places) == 1 else "2 lines have"
    assert table.notes == (f"{count} bytes that are not valid utf-8 (shown as \ufffd)",)


@pytest.mark.parametrize("encoding", ["utf-16-le", "cp1252", "euc-jp", "utf-32-be"])
def test_invalid_bytes_of_any_named_encoding_are_counted(tmp_path: Path, encoding: str) -> None:
    invalid = {"utf-16-le": b"\x00\xdc", "utf-32-be": b"\x00\x11\x00\x00"}.get(encoding, b"\x81")
    file = tmp_path / "sales.csv"
    file.write_bytes("town,price\nA".encode(encoding) + invalid + ",5\n".encode(encoding))
    table = SalesFile(file, encoding).read()
    assert table.columns["town"][0] == "A\ufffd"
    assert table.notes == (f"1 line has bytes that are not valid {encoding.replace('-jp', '_jp')} (shown as \ufffd)",)


@pytest.mark.parametrize("bom", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_big_endian_utf_with_bom_is_read(tmp_path: Path, bom: bytes) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(bom + table_of(["Málaga"]).encode("utf-16-be" if len(bom) == 2 else "utf-32-be"))
    assert set(SalesFile(file).read().columns["town"]) == {"Málaga"}


def test_damaged_utf_8_is_read_as_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(table_of(["Málaga", "Köln"]).encode() + b"K\xf6ln,1000,100000\n")
    table = SalesFile(file).read()
    assert set(table.columns["town"]) == {"Málaga", "Köln", "K\ufffdln"}
    assert table.notes == ("read as UTF-8, of which 1 byte is damaged (shown as \ufffd)",)


def test_single_accent_defaults_to_windows_1252() -> None:
    assert detect([table_of(["Köln"]).encode("mac_roman")]) == detect([table_of(["Kšln"]).encode("cp1252")])


def test_single_accent_unlikely_in_windows_1252_is_detected() -> None:
    encoding = detect([table_of(["Zürich"]).encode("mac_roman")])  # "ZŸrich" as Windows-1252
    assert encoding is not None
    assert encoding.codec == "mac-roman"


def test_undecodable_byte_affects_only_its_cell(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_bytes(b"price,size\n1,\x81\n2,3\n")
    table = SalesFile(file).read()
    assert (table.columns["size"], len(table.notes)) == (["\ufffd", "3"], 1)
    assert table.notes[0].endswith("; 1 line has bytes that are not valid cp1252 (shown as \ufffd)")


def test_text_equal_in_two_encodings_is_windows_1252() -> None:
    encoding = detect([table_of(["Pécs", "Vác", "Óbuda", "Székesfehérvár"]).encode("cp1250")])
    assert encoding is not None
    assert encoding.codec == "cp1252"


@given(st.binary(max_size=200), st.integers(1, 50))
def test_encoding_detection_is_independent_of_chunks(content: bytes, size: int) -> None:
    encoding, whole = detect([content[at : at + size] for at in range(0, len(content), size)]), detect([content])
    assert encoding is None or whole is None or (encoding.codec == "utf-8") == (whole.codec == "utf-8") or size < 4


@given(st.text(st.characters(codec="utf-8"), max_size=50), st.integers(1, 9))
@example("\ufffd", 1)  # U+FFFD is valid UTF-8, although programs write it for undecodable bytes
def test_utf_8_is_detected_in_any_chunks(text: str, size: int) -> None:
    content = ("x" * 99 + text.replace("\0", "")).encode()
    encoding = detect([content[at : at + size] for at in range(0, len(content), size)])
    assert encoding is not None
    assert (encoding.codec, encoding.note) == ("utf-8", None)


def test_unknown_encoding_is_rejected_by_name(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text("price,size\n1,2\n")
    for encoding in "utf-9", "zip":
        with pytest.raises(UnusableSales, match=f"unknown encoding '{encoding}'"):
            SalesFile(file, encoding).read()
    with pytest.raises(UnusableSales, match="is not valid utf-16"):
        SalesFile(file, "utf-16").read()


def test_named_utf_8_drops_its_bom() -> None:
    assert b"\xef\xbb\xbfa".decode(named("UTF8").codec) == "a"


@pytest.mark.parametrize(
    "content", [bytes(range(256)) * 9, b"PK\3\4" + bytes(range(255, 0, -1)) * 9], ids=["any", "zip"]
)
def test_binary_content_has_no_encoding(tmp_path: Path, content: bytes) -> None:
    assert detect([content]) is None
    assert TableFile(tmp_path / "none").encoding is None
