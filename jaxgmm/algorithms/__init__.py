"""The optimization algorithms: each one computes the next mixture from the current one."""
