"""How far two mixtures are apart, and how uncertain one is."""
