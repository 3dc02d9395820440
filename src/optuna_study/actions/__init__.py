"""Commands that run no workers: copy, delete, doctor, train, checks of wiring and weights."""
