"""Distances and divergences between mixtures, and the entropy of one."""
