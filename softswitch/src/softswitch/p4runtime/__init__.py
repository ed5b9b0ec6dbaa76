"""P4Runtime 1.4 over the engine: pure models of the protocol's state, and one thin gRPC server around them."""
