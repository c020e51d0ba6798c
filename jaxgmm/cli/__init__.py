"""Command line interface: `python -m jaxgmm`."""
