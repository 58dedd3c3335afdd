"""Figures for people: maps and spectra, drawn without any global state."""
