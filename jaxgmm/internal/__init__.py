"""Helpers that do not depend on mixtures."""
