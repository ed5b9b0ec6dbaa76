"""A small certificate authority: who is who on the bus and at the switches."""
