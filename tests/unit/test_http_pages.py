"""HTML pages over HTTP: negotiation, caching, well-formed markup and escaping."""

from __future__ import annotations

import json
import re
import shlex
from datetime import date
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.http.responses import example
from housepredict.entrypoints.pages.assets import assets
from housepredict.entrypoints.pages.home import CHOICES, home_page
from tests.http_service import (
    LAB_HOUSE,
    application,
    assert_problem,
    lab_version,
    served,
    version_with_snapshot,
)

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOSTILE = "</script><script>alert(1)</script>\"'&"
SCHEMA = FeatureSchema(
    (
        Feature("living_area", Kind.NUMBER, "m²", minimum=0.0, observed=(20.5, 123456.0)),
        Feature("elevation", Kind.NUMBER, required=False, observed=(-3.0, 900)),
        Feature("floors", Kind.INTEGER, observed=(1, 4)),
        Feature("garden", Kind.BOOLEAN),
        Feature("garage", Kind.BOOLEAN, required=False),
        Feature("style", Kind.CATEGORY, categories=(HOSTILE, "cottage")),
        Feature("heating", Kind.CATEGORY, required=False, categories=("gas", "wood"), closed=True),
        Feature("street", Kind.CATEGORY, categories=tuple(f"Street {at}" for at in range(CHOICES + 1))),
        Feature("ward", Kind.CATEGORY, categories=tuple(f"W{at}" for at in range(CHOICES + 1)), closed=True),
        Feature("anything", Kind.CATEGORY, required=False),
        Feature("rebuilt", Kind.DATE, required=False, observed=("1990-01-01", "2015-05-01")),
        Feature("sold", Kind.DATE, required=False, observed=("2014-01-01", "2015-05-27")),
    ),
    sale_date="sold",
    valuation_date=date(2015, 5, 27),
)

RANGES = st.tuples(st.floats(-1e9, 1e9), st.floats(0, 1e9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
DAYS = st.tuples(st.dates(), st.dates()).map(lambda pair: (min(pair).isoformat(), max(pair).isoformat()))
TEXTS = st.text(min_size=1, max_size=8)
FEATURES = st.lists(
    st.one_of(
        st.builds(
            Feature,
            TEXTS,
            st.sampled_from([Kind.NUMBER, Kind.INTEGER]),
            unit=st.none() | TEXTS,
            required=st.booleans(),
            observed=st.none() | RANGES,
        ),
        st.builds(
            Feature,
            TEXTS,
            st.just(Kind.CATEGORY),
            required=st.booleans(),
            categories=st.lists(TEXTS, max_size=CHOICES + 2, unique=True).map(tuple),
        ),
        st.builds(Feature, TEXTS, st.just(Kind.BOOLEAN), required=st.booleans()),
        st.builds(Feature, TEXTS, st.just(Kind.DATE), observed=st.none() | DAYS),
    ),
    max_size=6,
    unique_by=lambda feature: feature.name,
)


def parsed(page: str) -> ET.Element:
    start = "<!DOCTYPE html>\n"
    assert page.startswith(start)
    return ET.fromstring(page.removeprefix(start))


def page_of(schema: FeatureSchema, /, **house: Any) -> ET.Element:
    return parsed(home_page(lab_version(schema=schema)[0], house))


def control(document: ET.Element, feature: str) -> ET.Element:
    return next(each for each in document.iter() if each.get("data-feature") == feature)


def hint(document: ET.Element, feature: str) -> str | None:
    id_ = f"{control(document, feature).get('id')}-hint"
    return next((each.text for each in document.iter("p") if each.get("id") == id_), None)


class TestHomePage:
    def test_home_page_follows_version_in_service(self) -> None:
        made = application(lab_version("one"), lab_version("two"))
        with served(made) as client:
            first, again = (client.get("/", headers=BROWSER).text for _ in range(2))
            made.models.promote("one")
            made.live_model.look()
            other = client.get("/", headers=BROWSER).text
        assert "models/two" in first
        assert first == again
        assert "models/one" in other

    def test_form_starts_with_typical_training_house(self) -> None:
        with served(application(version_with_snapshot())) as client:
            document = parsed(client.get("/", headers=BROWSER).text)
        values = {name: control(document, name).get("value") for name in LAB_HOUSE}
        assert values == {"size": "1998", "bedrooms": "3", "age": "24"}

    def test_snapshot_that_does_not_fit_schema_is_ignored(self) -> None:
        version, artifact = version_with_snapshot()
        schema = FeatureSchema((*version.schema.features[:2], Feature("storeys", Kind.INTEGER, observed=(1, 3))))
        with served(application((evolve(version, schema=schema), artifact))) as client:
            document = parsed(client.get("/", headers=BROWSER).text)
        assert control(document, "storeys").get("value") == "2"


class TestMarkup:
    @settings(max_examples=60)
    @given(FEATURES)
    def test_page_is_well_formed_for_any_schema(self, features: list[Feature]) -> None:
        schema = FeatureSchema(tuple(features))
        document = page_of(schema, **example(schema))
        fields = [name for each in document.iter() if (name := each.get("data-feature")) is not None]
        assert len(fields) == len(features)
        ids = [id_ for each in document.iter() if (id_ := each.get("id"))]
        assert len(ids) == len(set(ids))
        for element in document.iter():
            assert not {name for name in element.attrib if name.startswith("on") or name == "style"}
            for name in ("aria-describedby", "aria-labelledby", "for", "list"):
                assert set((element.get(name) or "").split()) <= set(ids)
        assert [each.text for each in document.iter("script")] == [None]

    def test_page_uses_only_relative_urls(self) -> None:
        document = page_of(SCHEMA)
        addresses = [each.get(name) for each in document.iter() for name in ("href", "src") if each.get(name)]
        assert len(addresses) == 5
        assert not [each for each in addresses if each is None or each.startswith(("/", "http", "."))]

    def test_names_and_categories_are_escaped(self) -> None:
        schema = FeatureSchema((Feature(HOSTILE, Kind.CATEGORY, HOSTILE, categories=(HOSTILE,)),))
        version = evolve(lab_version(schema=schema)[0], name="<b>")
        document = parsed(home_page(version, {HOSTILE: HOSTILE}))
        assert [each.text for each in document.iter("option")] == [HOSTILE]
        assert control(document, HOSTILE) is not None
        assert [each.get("href") for each in document.iter("a")] == ["models/%3Cb%3E"]
        assert len(list(document.iter("script"))) == 1

    def test_page_without_script_shows_working_shell_command(self) -> None:
        house = {"street": "Ben's; rm -rf $HOME", "size": 3}
        (note,) = page_of(SCHEMA, **house).iter("noscript")
        command = "".join(note.itertext())
        *_, body = shlex.split(command[command.index("curl") :])
        assert json.loads(body) == house


class TestFields:
    def test_each_kind_has_a_matching_control(self) -> None:
        document = page_of(SCHEMA, living_area=80.0, garden=True, garage=False, style="cottage", rebuilt="2001-02-03")
        controls = {each.name: control(document, each.name) for each in SCHEMA.features}
        assert {name: (each.tag, each.get("type"), each.get("inputmode")) for name, each in controls.items()} == {
            "living_area": ("input", "text", "decimal"),
            "elevation": ("input", "text", "text"),
            "floors": ("input", "text", "numeric"),
            "garden": ("input", "checkbox", None),
            "garage": ("select", None, None),
            "style": ("select", None, None),
            "heating": ("select", None, None),
            "street": ("input", "text", None),
            "ward": ("input", "text", None),
            "anything": ("input", "text", None),
            "rebuilt": ("input", "date", None),
            "sold": ("input", "date", None),
        }
        assert controls["living_area"].get("value") == "80"
        assert controls["garden"].get("checked")
        assert controls["rebuilt"].get("value") == "2001-02-03"
        chosen = {
            name: [each.get("value") for each in controls[name].iter("option") if each.get("selected")]
            for name in ("garage", "style", "heating")
        }
        assert chosen == {"garage": ["false"], "style": ["cottage"], "heating": [""]}

    def test_hints_show_training_range_or_categories(self) -> None:
        document = page_of(SCHEMA)
        assert {each.name: hint(document, each.name) for each in SCHEMA.features} == {
            "living_area": "20.5 to 123,456",
            "elevation": "\u22123 to 900",
            "floors": "1 to 4",
            "garden": None,
            "garage": None,
            "style": None,
            "heating": None,
            "street": "13 known values",
            "ward": "one of 13 known values",
            "anything": "0 known values",
            "rebuilt": "January 1, 1990 to May 1, 2015",
            "sold": "default: May 27, 2015",
        }

    def test_year_hint_has_no_comma(self) -> None:
        schema = FeatureSchema((Feature("yr_built", Kind.INTEGER, observed=(1900, 2015)),))
        assert hint(page_of(schema), "yr_built") == "1900 to 2015"


class TestAssets:
    def test_assets_named_by_page_are_immutable(self) -> None:
        with served(application(lab_version())) as client:
            page = parsed(client.get("/", headers=BROWSER).text)
            named = [address for each in page.iterfind("head/*") if (address := each.get("href") or each.get("src"))]
            answers = [client.get(f"/{each}") for each in named]
        assert len(answers) == 4
        for answer in answers:
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert {each.headers["Content-Type"] for each in answers} == {
            "image/svg+xml",
            "text/css; charset=utf-8",
            "text/javascript; charset=utf-8",
        }

    def test_asset_url_of_other_release_is_not_cached(self) -> None:
        with served(application()) as client:
            answer = client.get("/assets/of-another-release/page.js")
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.content == client.get(f"/assets/{assets().digest}/page.js").content

    @pytest.mark.parametrize("name", ["version.py", "..%2fhome.py", "none.js", "%00"])
    def test_other_file_names_are_not_found(self, name: str) -> None:
        with served(application()) as client:
            assert_problem(client.get(f"/assets/{assets().digest}/{name}"), 404, "not-found")

    def test_scripts_import_existing_modules_and_all_assets_are_served(self) -> None:
        scripts = {name: content.decode() for name, (content, _) in assets().files.items() if name.endswith(".js")}
        imported = {name for content in scripts.values() for name in re.findall(r'from "\./([^"]+)"', content)}
        assert imported == scripts.keys() - {"page.js"}
        package = files("housepredict.entrypoints.pages")
        there = {each.name for each in package.iterdir() if each.name.endswith((".css", ".js", ".svg"))}
        assert assets().files.keys() == there - {"api_reference.css"}  # inlined in its page
        # Model data must never be parsed as markup or code.
        assert not [name for name, content in scripts.items() if re.search(r"innerHTML|outerHTML|\beval\b", content)]


class TestVersionPages:
    def test_demo_model_has_a_page(self) -> None:
        with served(application(demo=True)) as client:
            page = client.get("/models/demonstration", headers=BROWSER)
        assert page.status_code == 200
        assert "synthetic" in page.text

    def test_page_of_missing_version_is_not_found(self) -> None:
        with served(application(lab_version())) as client:
            assert_problem(client.get("/models/three", headers=BROWSER), 404, "unknown-version")
