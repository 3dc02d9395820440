from fake_trials import disk_full, job  # noqa: F401 - fixtures
from records import make_result, result, trial  # noqa: F401 - fixtures
