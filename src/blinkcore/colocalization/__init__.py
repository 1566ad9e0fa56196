"""Spots of two channels that lie together, and what chance would give."""
