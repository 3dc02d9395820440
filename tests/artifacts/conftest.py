from launching import warm, warm_workspace  # noqa: F401 - fixtures
from records import result, trial  # noqa: F401 - fixtures
