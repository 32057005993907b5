"""What a house, a sale, an estimate and a model are, and what is done with them: no I/O, no framework."""
