"""The inference of a schema from a raw table of sales: the kind and the role of each column."""
