"""Intent: the fabric file, its schema, what it must mean, the paths through it."""
