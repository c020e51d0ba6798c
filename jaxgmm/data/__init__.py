"""Data of all kinds: checks, storage, and sums over rows."""
