"""Switches: the entries they should have, the difference to what they have, the P4Runtime session that writes it."""
