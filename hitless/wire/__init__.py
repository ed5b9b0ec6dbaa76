"""The formats that nodes, switches, clients and workers exchange, and the engines that speak them: all sans-I/O."""
