"""How many small faults in the domain and the repositories the tests notice: python -m benchmarks.mutants"""
