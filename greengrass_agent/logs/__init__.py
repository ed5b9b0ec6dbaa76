"""What is written on the side: it is bounded, and neither stops nor fails who writes it."""
