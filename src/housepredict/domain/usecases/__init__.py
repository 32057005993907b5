"""What housepredict does, in terms of its ports."""
