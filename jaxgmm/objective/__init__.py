"""The objective: the log-likelihood and the prior, with statistics, M-step and derivatives."""
