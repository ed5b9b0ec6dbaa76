"""Who decides where new work goes: the switches, or the controller by publishing endpoints."""
