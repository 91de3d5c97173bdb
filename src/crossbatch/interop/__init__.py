"""Other libraries, each behind one door."""
