"""Functions in WebAssembly: what runs their modules, natively, as workers of the node's gateway."""
