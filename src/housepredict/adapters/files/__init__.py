"""Files of sales and houses."""
