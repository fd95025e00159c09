"""Columns from one row."""
