"""What calls a node's services beside their clients: messages of topics, and points in time."""
