"""Mininet networks that the whole system runs in."""
