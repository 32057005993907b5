"""What fits the domain's ports: storage, models and files. Nothing is imported here, so that nothing loads unasked."""
