"""Each example of a suite waits for the disk: there are few."""

from hypothesis import HealthCheck, settings

settings.register_profile("on-disk", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on-disk")
