"""How far estimates are off, beside plain scikit-learn models of the same columns."""
