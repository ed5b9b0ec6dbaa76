"""`make run`: a function moved between two nodes under load, measured."""
