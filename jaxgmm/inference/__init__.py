"""Checks of a fitted mixture: whether it is a maximum, and how far EM is from convergence."""
