"""Compare detected spots with true ones."""
