"""Compare recipes, the memory and another library in named cells, with one table row for each run."""
