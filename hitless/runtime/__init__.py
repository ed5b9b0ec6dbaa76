"""What runs a handler on a node: worker processes, events and contexts, calls of other services."""
