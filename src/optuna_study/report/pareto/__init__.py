"""The Pareto front of a study of two objectives: how it is shown, what is chosen from it."""
