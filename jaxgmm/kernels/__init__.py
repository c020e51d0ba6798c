"""Log-densities and sums of one block of rows, by either of two kernels."""
