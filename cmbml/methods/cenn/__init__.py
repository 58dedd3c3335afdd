"""CENN: a fully convolutional network on patches of the sky (Casas et al. 2022, A&A 666, A89)."""
