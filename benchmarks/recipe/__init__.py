"""The recipe, the memory and a peer, judged anew: named cells, a row a run."""
