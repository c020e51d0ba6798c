"""The public names of jaxgmm."""
