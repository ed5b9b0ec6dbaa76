"""What travels over the MQTT broker: topics, messages."""
