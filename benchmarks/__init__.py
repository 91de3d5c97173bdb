"""Benchmarks that compare crossbatch with other libraries in one run. Results are CSV files with versions."""
