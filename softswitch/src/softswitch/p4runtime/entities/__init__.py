"""The entities of P4Runtime, a module each: how a write of one is checked and staged, what a read selects of it, and
what of it a new program takes over.
"""
