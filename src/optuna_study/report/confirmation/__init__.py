"""What confirmation runs say of the best trials, and how that is told."""
