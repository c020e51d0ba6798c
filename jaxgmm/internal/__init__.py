"""Helpers without numerics: checks of arguments, compilation, files, warnings."""
