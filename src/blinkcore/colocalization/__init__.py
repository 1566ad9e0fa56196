"""Colocalization: pairs of spots in two channels, compared with chance."""
