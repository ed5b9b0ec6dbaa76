"""Intent to switches and nodes: provisioning, rollout, monitoring, fallback; the `hitless` command."""
