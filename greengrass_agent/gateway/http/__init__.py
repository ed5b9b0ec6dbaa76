"""HTTP/1.1 at the gateway (RFC 9110, RFC 9112): requests become jobs, connections follow the service when it moves."""
