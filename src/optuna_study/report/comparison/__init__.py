"""Baselines compared over several seeds."""
