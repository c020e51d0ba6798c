"""What is maximized: the log-likelihood, the prior, and the M-step."""
