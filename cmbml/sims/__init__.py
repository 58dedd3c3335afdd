"""The simulated universe: cosmologies, the CMB, foregrounds, noise and observations, as plain functions."""
