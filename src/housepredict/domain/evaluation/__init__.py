"""The evaluation of versions on held-out sales, the promotion rule, and drift."""
