"""Tracks of spots in movies, and how they move."""
