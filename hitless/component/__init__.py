"""What a component says of itself: its recipe and the configuration of its service."""
