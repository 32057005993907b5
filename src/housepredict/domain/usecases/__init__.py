"""housepredict's use cases. They reach the outside world only through ports."""
