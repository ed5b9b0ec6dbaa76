"""How soon the switch notices that a node is busy, whatever makes it so, and how often it moves for nothing."""
