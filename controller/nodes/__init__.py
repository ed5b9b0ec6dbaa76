"""Nodes: what they should run and be told, over MQTT."""
