"""Train models with scikit-learn. Only this package imports scikit-learn."""
