"""HTML pages and SVG plots. Pure functions render them as text, without network access."""
