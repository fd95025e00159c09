"""Which set works: arms, their runs, verdicts."""
