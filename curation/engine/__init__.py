"""Plans, passes, workers: how a recipe is run."""
