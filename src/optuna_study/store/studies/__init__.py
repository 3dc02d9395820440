"""Studies: created, changed, copied, deleted."""
