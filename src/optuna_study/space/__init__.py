"""Search spaces: dimensions, and stored parameters to training configuration and back."""
