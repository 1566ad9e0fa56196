"""Images with true spots, and real planes without any."""
