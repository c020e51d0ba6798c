"""What a mixture is good for after the fit: its parts, images, products and summaries."""
