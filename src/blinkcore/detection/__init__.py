"""From pixels to spots."""
