"""The migration experiment: a service moves again and again between two nodes, by each way that there is."""
