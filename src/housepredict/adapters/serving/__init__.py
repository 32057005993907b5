"""Models that were trained, served: numpy alone, and nothing is unpickled. What trains them is a room away."""
