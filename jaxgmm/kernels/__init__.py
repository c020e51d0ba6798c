"""One block of rows, summed."""
