from launching import (  # noqa: F401 - fixtures
    curves,
    definition,
    launch,
    run_here,
    study_text,
    warm,
    warm_workspace,
    workspace,
)
