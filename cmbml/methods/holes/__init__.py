"""Holes in maps filled: with realisations constrained by what is around them, smoothly, or with nothing."""
