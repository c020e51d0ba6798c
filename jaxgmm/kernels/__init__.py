"""Log-densities and sums of one block of rows, and the kernels that compute them."""
