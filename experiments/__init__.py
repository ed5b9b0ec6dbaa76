"""Open-loop load, scenarios, measurements and reports: the evidence of a run."""
