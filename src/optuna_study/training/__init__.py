"""The training core: a configuration in, one result per epoch out."""
