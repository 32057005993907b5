"""From a raw table of sales to a schema of features: what each column holds, and what it is for."""
