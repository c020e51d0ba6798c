"""The model: mixtures, their densities and samples, and coordinates for gradient methods."""
