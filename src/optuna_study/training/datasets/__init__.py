"""Data sets; a file here is a data set of the same name, read by its ``load``."""
