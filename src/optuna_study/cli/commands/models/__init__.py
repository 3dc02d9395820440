"""Commands for the configuration and the model that a search found."""
