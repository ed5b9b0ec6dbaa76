"""How good the policies are: a real switch, real reports, and nodes that serve by timers."""
