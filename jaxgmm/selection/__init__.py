"""Selection of the best fit, and of the number of components."""
