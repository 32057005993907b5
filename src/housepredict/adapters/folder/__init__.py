"""Model versions and training jobs in a folder."""
