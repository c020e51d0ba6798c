"""Algorithms side by side."""
