"""The agent of an edge node: deployments over MQTT, functions behind gateways, reports of resource metrics."""
