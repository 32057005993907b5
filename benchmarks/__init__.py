"""Measurements of accuracy, speed and test quality."""
