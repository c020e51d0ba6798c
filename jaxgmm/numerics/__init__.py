"""Numerical methods: linear algebra, solvers, accurate sums and sorting."""
