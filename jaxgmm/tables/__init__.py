"""Files of rows: CSV, NumPy, Parquet and Arrow files, read as tables of numbers."""
