"""The command lines: `softswitch`, `softswitch run`, `softswitch port`."""
