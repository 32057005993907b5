"""Bulk JSON encoding gives the same text as encoding each object alone."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from housepredict.adapters.documents import encode_objects

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
TEXTS = st.text() | st.text(alphabet='},{[]":\\')
VALUES = TEXTS | st.integers() | st.booleans() | st.dictionaries(TEXTS, TEXTS, max_size=2)


@given(st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=5))
@example([{"a": "},{"}])
@example([{}, {}])
@example([{"a": [{}, {}]}])
def test_objects_encode_the_same_in_bulk(objects: list[dict[str, Any]]) -> None:
    assert encode_objects(encode, objects) == [encode(each) for each in objects]
