"""New rows from old ones."""
