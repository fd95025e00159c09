"""What is trained on: token shards, draws, mixtures over time, the laws fitted to them."""
