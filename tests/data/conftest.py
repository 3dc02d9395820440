"""What splits and digits come from takes two seconds to import, which are no test's."""

import sklearn.datasets
import sklearn.model_selection  # noqa: F401 - importing it is all this is for
