"""The study: when the memory helps, when it hurts, and by how much, with one table row for each run."""
