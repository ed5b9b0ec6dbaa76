"""What every test gets: hypothesis does not judge the speed of a machine that it shares with others."""

from hypothesis import HealthCheck, settings

settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
