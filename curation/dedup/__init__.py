"""Who copies whom."""
