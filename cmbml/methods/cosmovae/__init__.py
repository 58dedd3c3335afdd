"""CosmoVAE (Yi et al. 2020, arXiv:2001.11651): a variational autoencoder that fills holes in patches of the CMB."""
