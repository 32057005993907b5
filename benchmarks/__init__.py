"""Measurements that are no tests: accuracy and speed."""
