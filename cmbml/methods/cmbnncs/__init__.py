"""cmbNNCS: a convolutional U-Net that finds the CMB in maps laid out as a plane (Wang et al. 2022, ApJS 260, 13)."""
