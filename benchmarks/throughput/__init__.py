"""The throughput of the service, compared with others on the same machine in the same run: `make bench`."""
