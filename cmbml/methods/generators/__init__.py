"""Methods that draw patches out of nothing, as a sky may have them."""
