"""The engine: computes any loss formula over any number of references, a block of columns at a time."""
