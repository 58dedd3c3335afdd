"""What a notebook, or a script of one's own, is given: datasets, maps, methods."""
