"""A network that corrects a linear estimate of the CMB and is shown nothing of the CMB itself."""
