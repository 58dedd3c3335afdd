"""Simulate the microwave sky, clean it, and compare the methods that clean it."""
