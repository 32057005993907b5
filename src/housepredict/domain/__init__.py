"""The core of housepredict: houses, sales, estimates, models and use cases, without I/O or frameworks."""
