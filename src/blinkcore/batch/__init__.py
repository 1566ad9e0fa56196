"""Many files through `blinkcore.detection.predict`."""
