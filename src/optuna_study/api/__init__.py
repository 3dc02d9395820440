"""What `import optuna_study` gives: studies, their tables and figures, trained models."""
