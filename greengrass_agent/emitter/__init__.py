"""The metric emitter: one process per node that reports the state of each instance every few milliseconds."""
