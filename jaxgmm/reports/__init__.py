"""Reports of fits: text summaries, progress bars, and files that save and load them."""
