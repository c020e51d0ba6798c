"""How a mixture moves."""
