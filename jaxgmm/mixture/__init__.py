"""The model: mixtures, their densities and their coordinates."""
