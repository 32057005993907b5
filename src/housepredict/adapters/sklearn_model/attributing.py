"""From what was trained to what explains it, and the proof that this adds up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from housepredict.adapters.serving.attribution import Attribution
from housepredict.adapters.serving.log_prices import LogPrices
from housepredict.adapters.serving.paths import Paths
from housepredict.adapters.serving.trees import MAX_LEAVES, Trees
from housepredict.adapters.sklearn_model.flattening import splits_of
from housepredict.adapters.sklearn_model.recipes import ABSOLUTE, SQUARED, Model, Table


def attribution(model: Model, form: LogPrices, table: Table) -> Attribution:
    """What explains a model that was made of a table, and its serving form."""
    players = form.columns.players[form.columns.for_trees]
    return Attribution(
        means=form.linear.terms(table.for_lines).mean(axis=0),
        squared=paths(model.trees[SQUARED], form.squared, players) if form.squared else None,
        absolute=paths(model.trees[ABSOLUTE], form.absolute, players) if form.absolute else None,
    )


def paths(estimator: HistGradientBoostingRegressor, form: Trees, players: NDArray[np.int64]) -> Paths:
    """The paths through the trees of an estimator and its serving form; see TreeContributions for `players`."""
    axes = np.split(form.cuts, form.sizes.cumsum()[:-1])
    first_cells = (form.sizes + 1).cumsum() - (form.sizes + 1)
    # the serving form clears the leaves that were left behind on the left
    masks = form.masks.copy()
    ratios = np.ones((players.max() + 1, *form.leaves.shape))
    leaves = np.ones(len(form.leaves), dtype=np.int64)
    for split in splits_of(estimator):
        left = ~split.turns_right(axes[split.feature])
        own = masks[first_cells[split.feature] :, split.tree][: left.size]
        own[left] &= ~np.uint32(split.right_leaves())
        shares = ratios[players[split.feature], split.tree]
        shares[split.first : split.middle] *= split.left_share
        shares[split.middle : split.last] *= 1 - split.left_share
        leaves[split.tree] += 1
    there = np.arange(MAX_LEAVES) < leaves[:, np.newaxis]
    mean = (form.leaves * ratios.prod(axis=0))[there].sum()
    return Paths(masks, ratios, mean)
