"""A switch in a network namespace of its own with native programs around it: what is measured is the switch."""
