"""What a fit leaves uncertain: standard errors, tests, missing values, and if it is a maximum."""
