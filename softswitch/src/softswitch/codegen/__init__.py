"""Turns a `Program` into C."""
