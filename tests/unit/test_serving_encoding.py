"""Encoding of houses as numbers."""

from __future__ import annotations

from datetime import date

import numpy as np

from housepredict.adapters.serving.encoding import Encoder
from tests.factories import MIXED, a_house


def test_every_kind_is_encoded_as_number() -> None:
    house = a_house(size=1999.5, area="east", waterfront=True, sold="2014-10-13", bedrooms=3, heating="gas")
    assert Encoder(MIXED)([house]).tolist() == [[1999.5, 2, 1, date(2014, 10, 13).toordinal(), 3, 0]]


def test_missing_value_or_unseen_category_is_nan() -> None:
    (row,) = Encoder(MIXED)([a_house(area="elsewhere", sold="2014-10-13")]).tolist()
    assert np.isnan(row).tolist() == [True, True, True, False, True, True]


def test_house_without_sale_date_gets_valuation_date() -> None:
    matrix = Encoder(MIXED)([a_house(), a_house(sold="2015-05-27")])
    assert matrix[0, 3] == matrix[1, 3]


def test_batch_keeps_order_of_houses_and_features() -> None:
    matrix = Encoder(MIXED)([a_house(size=size, bedrooms=size + 1) for size in range(5)])
    assert matrix.shape == (5, 6)
    assert matrix[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert matrix[:, 4].tolist() == [1, 2, 3, 4, 5]


def test_empty_batch_is_matrix_without_rows() -> None:
    assert Encoder(MIXED)([]).shape == (0, 6)
