"""A gRPC server on asyncio: HTTP/2 (RFC 9113) with header compression (RFC 7541), and gRPC's framing of calls on it."""
