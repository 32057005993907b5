"""HTML pages and SVG plots: pure functions from values to text, without scripts or network access."""
