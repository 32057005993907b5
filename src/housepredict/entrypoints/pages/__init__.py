"""Pages and plots for people: pure functions from values to HTML and SVG, without a script and without a network."""
