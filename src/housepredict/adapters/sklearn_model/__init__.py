"""Training: the only place that knows scikit-learn and joblib."""
