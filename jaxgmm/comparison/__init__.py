"""Comparison of algorithms on the same data, from the same starts."""
