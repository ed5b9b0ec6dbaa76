"""Secrets of a node, which its owner puts there for components: encrypted on disk, read by the agent."""
