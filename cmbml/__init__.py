"""Simulate the microwave sky, clean it, and compare the methods that clean it."""

__version__ = "0.1.0"
