"""The serving form of scikit-learn's boosted trees, and the parity check."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from housepredict.adapters.serving.encoding import Matrix
from housepredict.adapters.serving.trees import MAX_LEAVES, Trees
from housepredict.domain.errors import RefusedModel
from housepredict.domain.features import MAX_MAGNITUDE, FeatureSchema, Kind

Predict = Callable[[Matrix], NDArray[np.float64]]
"""Predicts a number for each row of a matrix."""

_MOST_NAMED = 3


def check_parity(
    model: Predict,
    form: Predict,
    rows: Matrix,
    names: Sequence[str],
    slack: NDArray[np.float64] | float = 0.0,
) -> None:
    """Check that a model and its serving form predict the same for every row, to within the slack.

    Args:
        names: what each column of the rows holds, to name the columns responsible for a difference.

    Raises:
        RefusedModel: if they differ; names the columns without which the difference is at most half as large.
    """
    expected, actual = model(rows), form(rows)
    off = np.abs(expected - actual)
    differing = ~(off <= slack)
    if differing.any():
        worst = int(np.argmax(np.where(differing, np.nan_to_num(off, nan=np.inf), -np.inf)))
        columns = _responsible(model, form, rows[worst], names)
        raise RefusedModel(
            f"The serving form differs from the model for {differing.sum()} of {len(rows)} houses, at most "
            f"{actual[worst]} instead of {expected[worst]}; "
            + (
                f"exclude the column responsible: {', '.join(columns)}"
                if columns
                else "no single column is responsible"
            )
        )


def _responsible(model: Predict, form: Predict, row: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """The columns without which the two differ by at most half as much, most responsible first."""
    rows = np.repeat(row[np.newaxis], len(row) + 1, axis=0)
    rows[np.diag_indices(len(row))] = np.nan
    *without, whole = np.abs(model(rows) - form(rows)).tolist()
    order = sorted(range(len(row)), key=without.__getitem__)
    columns = dict.fromkeys(names[column] for column in order if without[column] <= whole / 2)
    return list(columns)[:_MOST_NAMED]


def odd_rows(schema: FeatureSchema, matrix: Matrix) -> Matrix:
    """Houses unlike any sale: without each feature, without all, with the largest numbers, and with each category."""
    numeric = [feature.kind is not Kind.CATEGORY for feature in schema.features]
    whole = [np.where(numeric, value, np.nan) for value in (np.nan, -MAX_MAGNITUDE, MAX_MAGNITUDE)]
    changed: list[NDArray[np.float64]] = []
    for column, feature in enumerate(schema.features):
        for value in (np.nan, *range(len(feature.categories))):
            row = matrix[len(changed) % len(matrix)].copy()
            row[column] = value
            changed.append(row)
    return np.array(whole + changed)


_ALL_LEAVES = 2**MAX_LEAVES - 1


@frozen(eq=False)
class Split:
    """A split of a tree on a feature.

    Numbers up to `threshold` turn left. For a category `threshold` is None: its codes `left` turn left, its codes
    `right` turn right. All other values turn where missing ones turn. Counted from the left, the left child has the
    leaves from `first` to before `middle`, the right child those from there to before `last`. Of the training sales
    that reached the split, `left_share` turned left.
    """

    tree: int
    feature: int
    threshold: float | None
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    missing_left: bool
    first: int
    middle: int
    last: int
    left_share: float

    def turns_right(self, cuts: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each cell of the feature's axis turns right, with the one for missing values last; see Trees."""
        if self.threshold is not None:
            right = cuts > self.threshold
        elif self.missing_left:
            right = np.isin(cuts, self.right)
        else:
            right = ~np.isin(cuts, self.left)
        return np.append(right, not self.missing_left)

    def left_leaves(self) -> int:
        """The leaves below the left child, as bits."""
        return (1 << self.middle) - (1 << self.first)

    def right_leaves(self) -> int:
        """The leaves below the right child, as bits."""
        return (1 << self.last) - (1 << self.middle)

    def probes(self) -> list[float]:
        """Values on both sides of the split, and a missing one (NaN)."""
        if self.threshold is not None:
            return [self.threshold, np.nextafter(self.threshold, np.inf), np.nan]
        return [*self.left[:1], *self.left[-1:], *self.right[:1], *self.right[-1:], np.nan]


def flatten(estimator: HistGradientBoostingRegressor) -> Trees:
    """The serving form of an estimator that `boost` fitted."""
    leaves = np.zeros((estimator.n_iter_, MAX_LEAVES))
    for tree, predictor in enumerate(_trees(estimator)):
        values = [node["value"] for node, *_ in _in_order(predictor.nodes) if node["is_leaf"]]
        leaves[tree, : len(values)] = values
    leaves[0] += estimator._baseline_prediction.item()  # noqa: SLF001  # it has no public name
    splits = list(splits_of(estimator))
    axes = _axes(estimator, splits)
    sizes = np.array([axis.size for axis in axes])
    first_cells = (sizes + 1).cumsum() - (sizes + 1)
    masks = np.full((estimator.n_iter_, (sizes + 1).sum()), _ALL_LEAVES, dtype=np.uint32)
    for split in splits:
        right = split.turns_right(axes[split.feature])
        own = masks[split.tree, first_cells[split.feature] :][: right.size]
        own[right] &= _ALL_LEAVES ^ split.left_leaves()
    return Trees(np.concatenate(axes), sizes, np.ascontiguousarray(masks.T), leaves)


def splits_of(estimator: HistGradientBoostingRegressor) -> Iterator[Split]:
    """The splits of all trees."""
    codes = _codes(estimator)
    # scikit-learn puts the categories first
    columns = sorted(range(estimator.n_features_in_), key=lambda column: column not in codes)
    for tree, predictor in enumerate(_trees(estimator)):
        nodes = predictor.nodes
        for node, first, middle, last in _in_order(nodes):
            if node["is_leaf"]:
                continue
            feature = columns[node["feature_idx"]]
            threshold: float | None = float(node["num_threshold"])
            known, turns_left = np.empty(0), np.empty(0, dtype=bool)
            if node["is_categorical"]:
                threshold, known = None, codes[feature]
                bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]].astype("<u4").view(np.uint8)
                turns_left = np.unpackbits(bits, bitorder="little")[: known.size].astype(bool)
            yield Split(
                tree=tree,
                feature=feature,
                threshold=threshold,
                left=known[turns_left],
                right=known[~turns_left],
                missing_left=bool(node["missing_go_to_left"]),
                first=first,
                middle=middle,
                last=last,
                left_share=float(nodes[node["left"]]["count"] / node["count"]),
            )


def _trees(estimator: HistGradientBoostingRegressor) -> Iterator[Any]:
    return (predictor for (predictor,) in estimator._predictors)  # noqa: SLF001  # the trees have no public name


def _in_order(nodes: Any, index: int = 0, first: int = 0) -> Generator[tuple[Any, int, int, int], None, int]:
    """The nodes below one, from left to right, and then itself, each with the range of its leaves: the first, the end
    of its left child's, and the end. Returns the end.
    """
    node = nodes[index]
    middle = last = first + 1
    if not node["is_leaf"]:
        middle = yield from _in_order(nodes, node["left"], first)
        last = yield from _in_order(nodes, node["right"], middle)
    yield node, first, middle, last
    return last


def _codes(estimator: HistGradientBoostingRegressor) -> dict[int, NDArray[np.float64]]:
    """The known codes of each categorical column."""
    if estimator.is_categorical_ is None:
        return {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001  # it has no public name
    columns = np.flatnonzero(estimator.is_categorical_).tolist()
    return {column: known[~np.isnan(known)] for column, known in zip(columns, encoder.categories_, strict=True)}


def _axes(estimator: HistGradientBoostingRegressor, splits: list[Split]) -> list[NDArray[np.float64]]:
    """The cuts of each feature's axis: thresholds, or all codes up to the last known one; see Trees."""
    thresholds: list[set[float]] = [{np.inf} for _ in range(estimator.n_features_in_)]
    for split in splits:
        if split.threshold is not None:
            thresholds[split.feature].add(split.threshold)
    axes = [np.array(sorted(each)) for each in thresholds]
    for feature, known in _codes(estimator).items():
        axes[feature] = np.append(np.arange(known.max(initial=-1) + 1), np.inf)
    return axes
