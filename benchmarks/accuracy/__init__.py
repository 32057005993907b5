"""The accuracy of estimates, compared with plain scikit-learn models of the same columns."""
