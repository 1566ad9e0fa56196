"""Simulated images of fluorescent spots with exact truth."""
