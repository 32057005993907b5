"""Training with scikit-learn; nothing else imports it."""
