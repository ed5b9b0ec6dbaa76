"""Components on the node: their life, their processes, the services they give."""
