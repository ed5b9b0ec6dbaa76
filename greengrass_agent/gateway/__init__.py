"""An instance's gateway: serves a function over UDP (invocation protocol) and HTTP, outside the node's CPU budget."""
