from launching import (  # noqa: F401 - fixtures
    curves,
    definition,
    launch,
    patient_text,
    run_here,
    study_text,
    warm,
    warm_workspace,
    workspace,
)
