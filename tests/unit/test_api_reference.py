"""The API as a page: whole, safe to show, and readable without anything from elsewhere."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from xml.etree import ElementTree as ET

import pytest
from attrs import evolve

from housepredict.domain.features import Feature, FeatureSchema, Kind
from housepredict.entrypoints.http.routes.route_table import OPERATIONS
from tests.http_service import LAB_SCHEMA, application, lab_version, served

EVIL = '</style><script>alert("1")</script>&amp;'


def page(schema: FeatureSchema = LAB_SCHEMA) -> tuple[str, str]:
    """The page, and the policy that it comes with."""
    with served(application(lab_version(schema=schema))) as client:
        answer = client.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.text, answer.headers["Content-Security-Policy"]


@pytest.fixture(scope="module")
def root() -> ET.Element:
    text, _ = page()
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_it_tells_of_every_operation(root: ET.Element) -> None:
    titles = {"".join(each.itertext()).strip() for each in root.iter("h3")}
    assert OPERATIONS.keys() <= titles


def test_every_link_in_it_leads_somewhere(root: ET.Element) -> None:
    names = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(names) == len(set(names))
    links = {each.get("href", "") for each in root.iter("a")}
    assert links - {f"#{each}" for each in names} == {"/openapi.json"}


def test_what_any_request_may_meet_with_is_told_once(root: ET.Element) -> None:
    told = "".join(root.itertext())
    for once in ("traceparent", "headers-too-large: Request headers too large."):
        assert told.count(once) == 1


def test_it_shows_the_features_of_the_model_in_service(root: ET.Element) -> None:
    (house,) = (each for each in root.iter("div") if each.get("id") == "schema-House")
    assert [each.text for each in house.iter("code")] == ["size", "bedrooms", "age"]


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    text, policy = page()
    (style,) = re.findall("<style>(.*)</style>", text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert not re.search(r"<script|<img|style=|https?://", text)


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.CATEGORY])
def test_names_and_categories_are_shown_as_they_are(kind: Kind) -> None:
    feature = Feature(EVIL, kind, unit=EVIL)
    if kind is Kind.CATEGORY:
        feature = evolve(feature, categories=(EVIL,), closed=True)
    text, _ = page(FeatureSchema((feature,)))
    assert "<script" not in text
    shown = ET.fromstring(text.removeprefix("<!DOCTYPE html>"))
    assert EVIL in [each.text for each in shown.iter("code")]
