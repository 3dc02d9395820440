"""The search: samplers, the pruner and the objective around the training core."""
