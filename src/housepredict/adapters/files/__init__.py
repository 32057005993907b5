"""Read sales and houses from files, and write predictions to files."""
