"""Sweeps of many fits, and the choice of the best one and of the number of components."""
