"""Greengrass's interprocess communication: how a component on the node asks the agent for things."""
