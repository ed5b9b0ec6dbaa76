"""What requests feel when the node that serves them gets congested, by each way to do something about it."""
