"""Scores that rank documents: for a target, for coverage, by chance."""
