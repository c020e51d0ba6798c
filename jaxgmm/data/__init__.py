"""Rows, wherever they are stored."""
