"""Which features say where a house stands."""

from __future__ import annotations

import re

from housepredict.domain.features import FeatureSchema, Kind

_LATITUDE = re.compile(r"^lat(t?itude)?$|[ _.]lat(itude)?$|^latt$", re.IGNORECASE)
_LONGITUDE = re.compile(r"^(lon|long|lng|longt?itude)$|[ _.](lon|long|lng|longitude)$", re.IGNORECASE)


def coordinates(schema: FeatureSchema) -> tuple[str, str] | None:
    """The names of the latitude and the longitude; None unless there is exactly one of each."""
    numbers = [feature.name for feature in schema.features if feature.kind is Kind.NUMBER]
    latitudes, longitudes = ([name for name in numbers if each.search(name)] for each in (_LATITUDE, _LONGITUDE))
    return (latitudes[0], longitudes[0]) if len(latitudes) == len(longitudes) == 1 else None
