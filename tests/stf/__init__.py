"""p4c's sample programs with the packets that come with them."""
