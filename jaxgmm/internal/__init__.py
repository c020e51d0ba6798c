"""Helpers that know nothing of mixtures."""
