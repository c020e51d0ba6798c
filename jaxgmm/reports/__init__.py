"""Reports of fits: text summaries, files and progress."""
