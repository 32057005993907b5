"""The core of housepredict: houses, sales, estimates, models and use cases. It does no I/O and uses no frameworks."""
