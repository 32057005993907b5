"""The page of a model version in a browser: width, light and dark mode, Content Security Policy."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from housepredict.domain.evaluation.held_out import held_out
from housepredict.entrypoints.pages.version_page import version_page
from tests.browsers import NAMES, dump_page, find_browser
from tests.unit.test_version_page import SCHEMA, estimated, sales, version_of

BROWSER = find_browser()
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"NO BROWSER: pages were not looked at; install one of {', '.join(NAMES)}"
)

# A separate page inspects the version page in a frame, because the version page runs no scripts.
LOOK = """<!DOCTYPE html><body style="margin:0">
<iframe src="page.html" style="width:WIDTHpx;height:1000px;border:0"></iframe><pre id="seen"></pre><script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument;
  const pictures = [...page.querySelectorAll("svg")];
  const outside = pictures.flatMap(picture => [...picture.querySelectorAll("text")].filter(text => {
    const frame = picture.getBoundingClientRect(), box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1;
  })).map(text => text.textContent);
  const overlapping = pictures.flatMap(picture => {
    const boxes = [...picture.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    return boxes.flatMap(([one, a], at) => boxes.slice(at + 1).filter(([_, b]) =>
      a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom).map(([two]) => [one, two]));
  });
  document.querySelector("#seen").textContent = JSON.stringify({
    width: page.documentElement.scrollWidth,
    ground: page.defaultView.getComputedStyle(page.body).backgroundColor,
    pictures: pictures.filter(picture => picture.getBoundingClientRect().height > 100).length,
    dots: page.querySelectorAll("#estimate-by-price circle").length,
    outside, overlapping,
  });
};
</script>"""


def look(folder: Path, width: int, *, dark: bool = False, page: str | None = None) -> tuple[dict[str, Any], str]:
    rows = estimated(sales(200))
    page = page or version_page(version_of(rows), None, held_out(rows, SCHEMA), rows)
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "look.html").write_text(LOOK.replace("WIDTH", str(width)), encoding="utf-8")
    assert BROWSER
    output = dump_page(BROWSER, folder / "look.html", width, dark=dark)
    found = re.search(r'<pre id="seen">(.+?)</pre>', output)
    assert found, output
    return json.loads(found[1]), output


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize(("dark", "ground"), [(False, "rgb(252, 252, 250)"), (True, "rgb(21, 22, 20)")])
def test_page_fits_width_in_light_and_dark(tmp_path: Path, width: int, dark: bool, ground: str) -> None:
    found, output = look(tmp_path, width, dark=dark)
    assert found == {
        "width": width,
        "ground": ground,
        "pictures": 7,
        "dots": 200,
        "outside": [],
        "overlapping": [],
    }
    assert "Content Security Policy" not in output


def test_checks_detect_overflow_and_policy_violation(tmp_path: Path) -> None:
    rows = estimated(sales(40))
    page = version_page(version_of(rows), None, held_out(rows, SCHEMA))
    broken = page.replace("<main>", '<main><div style="width:900px">wide</div><img src="elsewhere.png"/>')
    found, output = look(tmp_path, 390, page=broken)
    assert found["width"] >= 900
    assert "Content Security Policy" in output
