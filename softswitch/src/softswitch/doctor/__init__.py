"""What would keep a switch from working with interfaces of this machine, found before it is started."""
