"""1,797 real handwritten digits of 8 x 8 grey pixels, bundled with scikit-learn."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.cache import load_or_build
from optuna_study.data.pictures import Pictures, Request, computed

if TYPE_CHECKING:
    from numpy.typing import NDArray

TITLE = "1,797 handwritten digits of scikit-learn, grey, 8 x 8"
CHANNELS = (1,)
CLASSES = tuple("0123456789")


def load(request: Request) -> Pictures:
    """The digits at the size the model sees: they fill their frame and leave no margin."""

    def build(scratch: Path) -> Pictures:
        rows = table()
        # Sixteen grey levels, 0 to 16; the last column is the digit.
        grey = rows[:, :-1].reshape(-1, 8, 8, 1)
        images = np.round(grey * (255 / 16)).astype(np.uint8)
        return computed(images, rows[:, -1].astype(np.int64), CLASSES, request.image_size)

    return load_or_build(f"digits-{request.image_size}", request.workspace, build)


def table() -> NDArray[np.float64]:
    """scikit-learn's own file, read without importing scikit-learn, which takes two seconds."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    data = Path(package.origin).parent / "datasets" / "data"
    return np.loadtxt(data / "digits.csv.gz", delimiter=",")
