"""One loop and one result for every algorithm."""
