"""Starts: the mixtures where fits begin."""
