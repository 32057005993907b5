"""How fast the service is beside others on the same machine, in the same run: `make bench`."""
