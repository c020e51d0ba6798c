"""What a covariance may be."""
