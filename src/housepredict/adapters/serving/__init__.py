"""Serve trained models with NumPy alone. Nothing is unpickled, and scikit-learn is never imported."""
