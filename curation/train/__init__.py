"""Continued pretraining on one machine: models, the loop, exact resumption."""
