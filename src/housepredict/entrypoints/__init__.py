"""The ways to use housepredict: from Python, on the command line, and over HTTP."""
