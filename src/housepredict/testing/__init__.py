"""Contract test suites for port adapters, and test doubles. Use the suites to test your own adapters."""
