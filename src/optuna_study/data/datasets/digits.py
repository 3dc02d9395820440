"""1,797 real handwritten digits of 8 x 8 grey pixels, bundled with scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from optuna_study.data.cache import load_or_build
from optuna_study.data.pictures import Pictures, Request, computed

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "1,797 handwritten digits of scikit-learn, grey, 8 x 8"
CHANNELS = (1,)
CLASSES = tuple("0123456789")


def load(request: Request) -> Pictures:
    """The digits at the size the model sees: they fill their frame and leave no margin."""

    def build(scratch: Path) -> Pictures:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # Sixteen grey levels, 0 to 16.
        images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
        return computed(images, bunch.target.astype(np.int64), CLASSES, request.image_size)

    return load_or_build(f"digits-{request.image_size}", request.workspace, build)
