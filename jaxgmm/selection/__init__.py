"""Which fit, and how many components."""
