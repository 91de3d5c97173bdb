"""Use with other libraries, one module each."""
