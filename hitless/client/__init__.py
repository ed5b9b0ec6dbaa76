"""The client library: calls of services, endpoints that change between two of them."""
