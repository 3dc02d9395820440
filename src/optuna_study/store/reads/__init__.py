"""Quick reads that need neither Optuna nor torch."""
