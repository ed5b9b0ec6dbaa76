"""softswitch: an embedded P4Runtime target that compiles what p4c made for BMv2 and runs it natively."""
