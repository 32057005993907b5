"""The use cases of housepredict, which use the outside only through ports."""
