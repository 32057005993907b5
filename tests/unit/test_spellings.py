"""Names and categories are compared regardless of Unicode form and surrounding blanks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from housepredict.adapters.files.house_file import read_houses_csv
from housepredict.domain.errors import InvalidHouses, UnreadableFile
from housepredict.domain.features import Feature, FeatureSchema, House, Kind
from housepredict.domain.sales import SalesTable
from housepredict.domain.schema_inference.inference import prepare
from housepredict.domain.training_options import TrainingOptions
from housepredict.domain.validation import Rule, tidy
from housepredict.domain.warnings import find_warnings
from housepredict.entrypoints.composition import houses_at, sales_at
from housepredict.entrypoints.python import houses_of

SIZE, TOWN = "Größe", "Málaga"
NFD_SIZE, NFD_TOWN = normalize("NFD", SIZE), normalize("NFD", TOWN)
SCHEMA = FeatureSchema((Feature(SIZE, Kind.NUMBER), Feature("town", Kind.CATEGORY, categories=(TOWN, "Milton"))))
DECOMPOSED_SCHEMA = FeatureSchema(
    (Feature(NFD_SIZE, Kind.NUMBER), Feature("town", Kind.CATEGORY, categories=(NFD_TOWN, "Milton "), closed=True))
)
"""A schema as an older release made it."""

forms: list[Any] = ["NFC", "NFD"]
blanks = st.text(st.sampled_from(" \t\n\u00a0\u2003\u202f\u3000\u200b\ufeff"), max_size=2)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    return draw(blanks) + normalize(draw(st.sampled_from(forms)), text) + draw(blanks)


@given(st.text())
def test_tidy_is_idempotent(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once
    assert tidy(f" \u00a0{text}\u2003") == once


@given(st.data(), st.sampled_from([SCHEMA, DECOMPOSED_SCHEMA]), st.sampled_from([TOWN, "Milton"]))
def test_house_is_read_in_any_spelling(data: st.DataObject, schema: FeatureSchema, town: str) -> None:
    name, place = data.draw(spelled(SIZE)), data.draw(spelled(town))
    first, second = schema.features
    expected = House({first.name: 99, "town": {tidy(each): each for each in second.categories}[town]})
    house = {name: 99, data.draw(spelled("town")): place}
    assert schema.houses([house]) == (expected,)
    assert schema.house(house) == expected
    assert schema.violations(house) == []
    assert find_warnings(schema, expected) == find_warnings(SCHEMA, House({SIZE: 99, "town": town}))


def test_unseen_category_is_stored_composed() -> None:
    (house,) = SCHEMA.houses([{SIZE: 9, "town": f" {normalize('NFD', 'Köln')} "}])
    assert house.values["town"] == "Köln"


def test_two_names_of_one_feature_are_rejected() -> None:
    with pytest.raises(InvalidHouses) as caught:
        SCHEMA.houses([{SIZE: 1, NFD_SIZE: 2, "town": TOWN}])
    assert [(each.pointer, each.rule) for each in caught.value.violations] == [(f"/0/{NFD_SIZE}", Rule.DUPLICATE)]


def test_schema_with_both_forms_of_a_name_keeps_them_apart() -> None:
    both = FeatureSchema((Feature(SIZE, Kind.NUMBER), Feature(NFD_SIZE, Kind.NUMBER)))
    assert both.houses([{SIZE: 1, NFD_SIZE: 2}, {NFD_SIZE: 2, SIZE: 1.5}])[0].values == {SIZE: 1, NFD_SIZE: 2}


@pytest.mark.parametrize("schema", [SCHEMA, DECOMPOSED_SCHEMA], ids=["composed", "decomposed"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_files_bodies_and_frames_are_read_in_any_form(tmp_path: Path, schema: FeatureSchema, form: Any) -> None:
    text = normalize(form, f"{SIZE}\u00a0, town \n99,{TOWN}\u00a0\n7, Milton\n")
    file = tmp_path / "houses.csv"
    file.write_text(text, encoding="utf-8")
    of_file = [house for rows in houses_at(file).read(schema, 9).rows for house in rows.houses]
    frame = pd.DataFrame({normalize(form, SIZE): [99, 7], "town ": [normalize(form, TOWN), "Milton "]})
    expected = schema.houses([{SIZE: 99, "town": TOWN}, {SIZE: 7, "town": "Milton"}])
    for houses in of_file, read_houses_csv(text.encode(), schema, 1000), houses_of(frame, schema):
        assert schema.houses(houses) == expected


def test_frame_with_two_columns_of_one_feature_is_rejected() -> None:
    with pytest.raises(InvalidHouses, match="several columns have this name"):
        houses_of(pd.DataFrame({SIZE: [1], NFD_SIZE: [2], "town": [TOWN]}), SCHEMA)
    with pytest.raises(InvalidHouses, match="several columns have this name"):
        read_houses_csv(f"{SIZE},{NFD_SIZE},town\n1,2,{TOWN}\n".encode(), SCHEMA, 1000)


def test_file_with_equal_column_names_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "sales.csv"
    file.write_text(f"{SIZE},{NFD_SIZE},price\n1,2,3\n", encoding="utf-8")
    with pytest.raises(UnreadableFile, match=f"several columns have the same name: rename {SIZE}"):
        sales_at(str(file)).read()


def test_training_composes_decomposed_names(tmp_path: Path) -> None:
    rows = [f"{900 + 7 * row},{(TOWN, 'Milton')[row % 2]},{200_000 + 1111 * (row * 37 % 160)}" for row in range(120)]
    file = tmp_path / "sales.csv"
    file.write_text(normalize("NFD", "\n".join([f"{SIZE} ,town\u00a0,Preisü", *rows])), encoding="utf-8")
    options = TrainingOptions(price=normalize("NFD", "Preisü"), kinds={NFD_SIZE: Kind.INTEGER}, closed=("town ",))
    schema = prepare(sales_at(str(file)).read(), options).schema
    assert [(each.name, each.kind) for each in schema.features] == [(SIZE, Kind.INTEGER), ("town", Kind.CATEGORY)]
    assert set(schema.features[1].categories) == {TOWN, "Milton"}
    assert schema.features[1].closed


def test_options_tidy_column_names() -> None:
    assert TrainingOptions(price=NFD_SIZE, features=(" a ",)) == TrainingOptions(price=SIZE, features=("a",))


def test_json_names_with_blanks_are_accepted() -> None:
    assert SCHEMA.houses([json.loads('{" Größe ": 1, "town\\u00a0": "M\\u00e1laga "}')])[0].values == {
        SIZE: 1,
        "town": TOWN,
    }


def test_notes_of_file_are_passed_on() -> None:
    rows = range(200)
    columns: dict[str, Any] = {"price": [row + 1 for row in rows], "beds": [row * 7 % 90 for row in rows]}
    assert prepare(SalesTable(columns, "", notes=("a note",)), TrainingOptions()).notes == ("a note",)


def test_name_that_is_not_text_is_unknown() -> None:
    assert [each.pointer for each in SCHEMA.violations({7: 1, SIZE: 9, "town": TOWN})] == ["/7"]
