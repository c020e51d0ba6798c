"""One loop and one result for every algorithm, and whether the result is an artifact."""
