"""Assertions of the suites are explained as those of tests are. Each example waits for the disk: there are few."""

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("housepredict.testing")

settings.register_profile("on-disk", max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("on-disk")
