"""How any formula is computed over any number of references: which pairs there are, their sums, the products."""
