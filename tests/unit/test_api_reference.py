"""The API reference page is complete, safe and self-contained."""

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
    """Return the page and its content security policy."""
    with served(application(lab_version(schema=schema))) as client:
        answer = client.get("/docs")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return answer.text, answer.headers["Content-Security-Policy"]


@pytest.fixture(scope="module")
def root() -> ET.Element:
    text, _ = page()
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>"))


def test_page_lists_every_operation(root: ET.Element) -> None:
    titles = {"".join(each.itertext()).strip() for each in root.iter("h3")}
    assert OPERATIONS.keys() <= titles


def test_page_links_have_targets(root: ET.Element) -> None:
    names = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(names) == len(set(names))
    links = {each.get("href", "") for each in root.iter("a")}
    assert links - {f"#{each}" for each in names} == {"/openapi.json"}


def test_page_shows_common_headers_and_problems_once(root: ET.Element) -> None:
    text = "".join(root.itertext())
    for once in ("traceparent", "headers-too-large: Request headers too large."):
        assert text.count(once) == 1


def test_page_shows_features_of_the_served_model(root: ET.Element) -> None:
    (house,) = (each for each in root.iter("div") if each.get("id") == "schema-House")
    assert [each.text for each in house.iter("code")] == ["size", "bedrooms", "age"]


def test_content_security_policy_allows_only_the_page_style() -> None:
    text, policy = page()
    (style,) = re.findall("<style>(.*)</style>", text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
    assert not re.search(r"<script|<img|style=|https?://", text)


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.CATEGORY])
def test_feature_names_and_categories_are_escaped(kind: Kind) -> None:
    feature = Feature(EVIL, kind, unit=EVIL)
    if kind is Kind.CATEGORY:
        feature = evolve(feature, categories=(EVIL,), closed=True)
    text, _ = page(FeatureSchema((feature,)))
    assert "<script" not in text
    shown = ET.fromstring(text.removeprefix("<!DOCTYPE html>"))
    assert EVIL in [each.text for each in shown.iter("code")]
