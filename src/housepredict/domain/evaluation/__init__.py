"""Evaluation of model versions on held-out sales, the promotion rule, and drift."""
