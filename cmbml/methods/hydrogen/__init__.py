"""Dust foretold from the velocity channels of the 21 cm line."""
