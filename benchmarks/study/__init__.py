"""The study: does the memory hurt, does it help, and by what; one row a run."""
