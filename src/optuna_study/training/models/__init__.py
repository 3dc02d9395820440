"""Architectures; a file here is a model of the same name, built by its ``build``."""
