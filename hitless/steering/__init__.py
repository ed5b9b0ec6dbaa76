"""The data plane contract, executable: what the steering program decides, as pure code."""
