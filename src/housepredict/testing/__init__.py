"""Contract suites: what every adapter of a port must do, for this project's adapters and for yours."""
