from launching import curves, definition, launch, run_here, study_text, workspace  # noqa: F401 - fixtures
