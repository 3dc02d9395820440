"""The commands; a file here is a command of the same name."""
