"""Load balancers that others wrote, as their users would configure them: what experiments compare with."""
