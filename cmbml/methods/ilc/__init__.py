"""Internal linear combinations: the weights that keep the CMB and let the least of all else through."""
