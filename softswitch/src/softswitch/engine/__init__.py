"""The only border to the native runtime: what Python writes into it, reads out of it, and hears from it."""
