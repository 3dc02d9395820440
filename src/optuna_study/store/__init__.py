"""The store: studies, trial records and the queue of trials, beside Optuna's tables."""
