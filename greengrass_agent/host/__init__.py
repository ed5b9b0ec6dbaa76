"""What the agent asks of the operating system: control groups, network, processes, priorities."""
