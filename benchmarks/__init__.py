"""Benchmarks: ours and peers in one run; results as CSV with versions."""
