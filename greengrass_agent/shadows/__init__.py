"""Device shadows that components keep on a node, and what the broker hears and says of them."""
