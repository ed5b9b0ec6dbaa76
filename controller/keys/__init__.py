"""The keys that reports are authenticated with."""
