from records import result, trial  # noqa: F401 - fixtures
