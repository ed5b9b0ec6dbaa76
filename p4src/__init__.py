"""The steering program in P4-16 and, under `compiled/`, what p4c makes of it."""
