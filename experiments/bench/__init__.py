"""How fast the switches are: packets a second of steered requests, as ratios within one run."""
