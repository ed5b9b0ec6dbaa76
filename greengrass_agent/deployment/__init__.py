"""A deployment from its offer to its result: what to do, what to fetch, what is on disk."""
