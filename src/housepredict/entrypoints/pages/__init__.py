"""HTML pages and SVG plots, which pure functions render as text."""
