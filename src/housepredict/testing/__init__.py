"""Contract test suites for adapters of ports, and test doubles. Use the suites to test your own adapters."""
