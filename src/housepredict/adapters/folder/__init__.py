"""Storage for model versions and training jobs in a directory."""
