"""How housepredict is reached: Python, the command line, HTTP."""
