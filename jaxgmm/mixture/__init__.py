"""The model: mixtures, their densities, and coordinates for gradient methods."""
