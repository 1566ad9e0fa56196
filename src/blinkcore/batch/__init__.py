"""Run `blinkcore.detection.predict` on many files."""
