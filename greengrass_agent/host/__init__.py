"""What the agent asks of the operating system: control groups, network, processes, and what confines scripts."""
