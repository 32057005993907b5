"""Convert scikit-learn's boosted trees to their serving form, and check that serving forms agree with models."""

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
"""A function that returns a prediction for each row of a matrix."""

_MAX_COLUMNS = 3  # columns listed in an error message


def check_parity(
    model: Predict,
    form: Predict,
    rows: Matrix,
    names: Sequence[str],
    slack: NDArray[np.float64] | float = 0.0,
) -> None:
    """Check that a model and its serving form make the same predictions.

    Args:
        model: a function that returns the model's predictions.
        form: a function that returns the serving form's predictions.
        rows: the houses to predict for, of shape (houses, columns).
        names: the feature name for each column, to use in the error message.
        slack: the tolerance: one number, or an array of shape (houses,).

    Raises:
        RefusedModel: if the predictions differ. The message names the features responsible. A feature is responsible if
            removing its value from the house with the largest difference reduces this difference to half or less.
    """
    expected, actual = model(rows), form(rows)
    off = np.abs(expected - actual)
    differing = ~(off <= slack)
    if differing.any():
        worst = int(np.argmax(np.where(differing, np.nan_to_num(off, nan=np.inf), -np.inf)))
        columns = _responsible(model, form, rows[worst], names)
        raise RefusedModel(
            f"The serving form differs from the model for {differing.sum():,} of {len(rows):,} houses, at worst "
            f"{actual[worst]} instead of {expected[worst]}; "
            + (
                f"exclude the column responsible: {', '.join(columns)}"
                if columns
                else "no single column is responsible"
            )
        )


def _responsible(model: Predict, form: Predict, row: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    """Return the features that make the form's output for a house differ from the model's, most responsible first.

    At most `_MAX_COLUMNS` features are returned. `check_parity` explains which features count as responsible.
    """
    rows = np.repeat(row[np.newaxis], len(row) + 1, axis=0)
    rows[np.diag_indices(len(row))] = np.nan
    *without, total = np.abs(model(rows) - form(rows)).tolist()
    order = sorted(range(len(row)), key=without.__getitem__)
    columns = dict.fromkeys(names[column] for column in order if without[column] <= total / 2)
    return list(columns)[:_MAX_COLUMNS]


def odd_rows(schema: FeatureSchema, matrix: Matrix) -> Matrix:
    """Return encoded houses that are unlike any sale, for use in the parity check.

    Some houses lack all features or have extreme numbers. The others are rows of `matrix` with one feature changed. For
    each feature, they cover a missing value and every category.
    """
    numeric = [feature.kind is not Kind.CATEGORY for feature in schema.features]
    extreme = [np.where(numeric, value, np.nan) for value in (np.nan, -MAX_MAGNITUDE, MAX_MAGNITUDE)]
    changed: list[NDArray[np.float64]] = []
    for column, feature in enumerate(schema.features):
        for value in (np.nan, *range(len(feature.categories))):
            row = matrix[len(changed) % len(matrix)].copy()
            row[column] = value
            changed.append(row)
    return np.array(extreme + changed)


_ALL_LEAVES = 2**MAX_LEAVES - 1


@frozen(eq=False)
class Split:
    """A split in a tree. A house turns left if it continues to the left child of the split.

    Attributes:
        tree: the index of the tree.
        feature: the index of the feature that decides where a house turns.
        threshold: the largest number that turns left, or None if the feature is categorical.
        left: the category codes that turn left.
        right: the category codes that turn right.
        missing_left: whether a missing value, or a category code in neither `left` nor `right`, turns left.
        first: the index of the leftmost leaf below the split.
        middle: the index of the leftmost leaf below the right child.
        last: 1 + the index of the rightmost leaf below the split.
        left_share: the proportion of training sales that turned left, among those that reached the split.
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
        """Return whether the values in each cell turn right, of shape (cells,).

        `cuts` divides the feature's values into cells. The last cell is for missing values (see Trees).
        """
        if self.threshold is not None:
            right = cuts > self.threshold
        elif self.missing_left:
            right = np.isin(cuts, self.right)
        else:
            right = ~np.isin(cuts, self.left)
        return np.append(right, not self.missing_left)

    def left_leaves(self) -> int:
        """Return a bit mask of the leaves below the left child."""
        return (1 << self.middle) - (1 << self.first)

    def right_leaves(self) -> int:
        """Return a bit mask of the leaves below the right child."""
        return (1 << self.last) - (1 << self.middle)

    def probes(self) -> list[float]:
        """Return feature values on both sides of the split, and NaN as a missing value."""
        if self.threshold is not None:
            return [self.threshold, np.nextafter(self.threshold, np.inf), np.nan]
        return [*self.left[:1], *self.left[-1:], *self.right[:1], *self.right[-1:], np.nan]


def flatten(estimator: HistGradientBoostingRegressor) -> Trees:
    """Return the serving form of trees that were fitted by `boost`."""
    leaves = np.zeros((estimator.n_iter_, MAX_LEAVES))
    for tree, predictor in enumerate(_trees(estimator)):
        values = [node["value"] for node, *_ in _in_order(predictor.nodes) if node["is_leaf"]]
        leaves[tree, : len(values)] = values
    leaves[0] += estimator._baseline_prediction.item()  # noqa: SLF001  # no public API
    splits = list(splits_of(estimator))
    axes = _axes(estimator, splits)
    sizes = np.array([axis.size for axis in axes])
    first_cells = (sizes + 1).cumsum() - (sizes + 1)
    masks = np.full((estimator.n_iter_, (sizes + 1).sum()), _ALL_LEAVES, dtype=np.uint32)
    for split in splits:
        right = split.turns_right(axes[split.feature])
        split_masks = masks[split.tree, first_cells[split.feature] :][: right.size]
        split_masks[right] &= _ALL_LEAVES ^ split.left_leaves()
    return Trees(np.concatenate(axes), sizes, np.ascontiguousarray(masks.T), leaves)


def splits_of(estimator: HistGradientBoostingRegressor) -> Iterator[Split]:
    """Yield the splits in all trees."""
    codes = _codes(estimator)
    # scikit-learn moves the categories to the front
    columns = sorted(range(estimator.n_features_in_), key=lambda column: column not in codes)
    for tree, predictor in enumerate(_trees(estimator)):
        nodes = predictor.nodes
        for node, first, middle, last in _in_order(nodes):
            if node["is_leaf"]:
                continue
            feature = columns[node["feature_idx"]]
            threshold: float | None = float(node["num_threshold"])
            categories, turns_left = np.empty(0), np.empty(0, dtype=bool)
            if node["is_categorical"]:
                threshold, categories = None, codes[feature]
                bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]].astype("<u4").view(np.uint8)
                turns_left = np.unpackbits(bits, bitorder="little")[: categories.size].astype(bool)
            yield Split(
                tree=tree,
                feature=feature,
                threshold=threshold,
                left=categories[turns_left],
                right=categories[~turns_left],
                missing_left=bool(node["missing_go_to_left"]),
                first=first,
                middle=middle,
                last=last,
                left_share=float(nodes[node["left"]]["count"] / node["count"]),
            )


def _trees(estimator: HistGradientBoostingRegressor) -> Iterator[Any]:
    return (predictor for (predictor,) in estimator._predictors)  # noqa: SLF001  # no public API


def _in_order(nodes: Any, index: int = 0, first: int = 0) -> Generator[tuple[Any, int, int, int], None, int]:
    """Yield each node of a subtree, with the range of its leaves. The left child comes first, and the parent last.

    The range consists of the index of the first leaf below the node, the index of the first leaf below its right child,
    and 1 + the index of the last leaf below the node.

    Args:
        nodes: scikit-learn's array of the nodes of a tree.
        index: the position in `nodes` of the root of the subtree.
        first: the index of the first leaf in the subtree.

    Returns:
        1 + the index of the last leaf in the subtree.
    """
    node = nodes[index]
    middle = last = first + 1
    if not node["is_leaf"]:
        middle = yield from _in_order(nodes, node["left"], first)
        last = yield from _in_order(nodes, node["right"], middle)
    yield node, first, middle, last
    return last


def _codes(estimator: HistGradientBoostingRegressor) -> dict[int, NDArray[np.float64]]:
    """Return the category codes that occurred during training, by column position."""
    if estimator.is_categorical_ is None:
        return {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001  # no public API
    columns = np.flatnonzero(estimator.is_categorical_).tolist()
    return {column: codes[~np.isnan(codes)] for column, codes in zip(columns, encoder.categories_, strict=True)}


def _axes(estimator: HistGradientBoostingRegressor, splits: list[Split]) -> list[NDArray[np.float64]]:
    """Return the cuts of each feature (see Trees).

    For a numeric feature, the cuts are the thresholds. For a categorical feature, they are all codes up to the largest
    known code. Infinity is the last cut of every feature.
    """
    thresholds: list[set[float]] = [{np.inf} for _ in range(estimator.n_features_in_)]
    for split in splits:
        if split.threshold is not None:
            thresholds[split.feature].add(split.threshold)
    axes = [np.array(sorted(cuts)) for cuts in thresholds]
    for feature, codes in _codes(estimator).items():
        axes[feature] = np.append(np.arange(codes.max(initial=-1) + 1), np.inf)
    return axes
