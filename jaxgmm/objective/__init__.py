"""The objective: the log-likelihood, the prior, their statistics, and the M-step."""
