"""Embedding models: built by name, saved and loaded."""
