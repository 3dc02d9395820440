"""Five kinds of creature heads drawn by this module: bear, cat, chick, rabbit and ram.

Kinds differ in shape alone: round, pointed or long ears, a beak, curled horns. Pose, scale, place,
colours, background, things in front and behind, light and noise vary, the same for all kinds, so
that colour and place tell nothing and a model has to find parts wherever they are. Only additions,
multiplications, divisions and square roots of doubles are used, and NumPy's frozen legacy
generator, so every machine draws the same bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from optuna_study.data.cache import load_or_build
from optuna_study.data.pictures import Pictures, Request, computed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Grid: TypeAlias = NDArray[np.float64]
    Point: TypeAlias = tuple[float, float]

TITLE = "1,000 creature heads of five kinds, drawn by this program"
CHANNELS = (3,)
CLASSES = ("bear", "cat", "chick", "rabbit", "ram")
SIDE = 96
PER_CLASS = 200
SEED = 20120930
"""Part of the cache key too: change it whenever the drawing changes."""


def load(request: Request) -> Pictures:
    """The drawn pictures, with the margin for crops."""

    def build(scratch: Path) -> Pictures:
        images, labels = render()
        return computed(images, labels, CLASSES, request.cache_size)

    return load_or_build(f"rendered-{SEED}-{request.cache_size}", request.workspace, build)


def render(per_class: int = PER_CLASS) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures of shape (N, SIDE, SIDE, 3), kinds taking turns, and their labels."""
    random = np.random.RandomState(SEED)
    labels = np.arange(per_class * len(CLASSES), dtype=np.int64) % len(CLASSES)
    images = np.stack([_picture(CLASSES[label], random) for label in labels])
    return images, labels


@dataclass(frozen=True)
class _Pose:
    """Where the head is: its centre and scale in pixels, and its turn."""

    x: float
    y: float
    scale: float
    cosine: float
    sine: float

    def grid(self) -> tuple[Grid, Grid]:
        """Head coordinates of every pixel: the head is the unit circle, y points down."""
        across = (_PIXELS - self.x) / self.scale
        down = (_PIXELS[:, np.newaxis] - self.y) / self.scale
        return (
            self.cosine * across + self.sine * down,
            self.cosine * down - self.sine * across,
        )


_PIXELS = np.arange(SIDE, dtype=np.float64)


class _Canvas:
    """A picture being painted, in doubles from 0 to 1."""

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random
        self.pixels = self._background()

    def _background(self) -> Grid:
        first, second = self.colour(), self.colour()
        cosine, sine = _turn(self.random.uniform(0, 2 * math.pi))
        ramp = 0.5 + (cosine * (_PIXELS / SIDE - 0.5) + sine * (_PIXELS[:, None] / SIDE - 0.5))
        return first + (second - first) * np.clip(ramp, 0, 1)[..., None]

    def colour(self) -> Grid:
        return self.random.uniform(0.1, 0.95, 3)

    def paint(self, cover: Grid, colour: Grid) -> None:
        self.pixels += cover[..., None] * (colour - self.pixels)

    def clutter(self, count: int, size: tuple[float, float]) -> None:
        """Ellipses and triangles anywhere, like ears and beaks that belong to nobody."""
        for _ in range(count):
            pose = _pose(self.random, (0, SIDE), size, math.pi)
            if self.random.random_sample() < 0.5:
                cover = _ellipse(pose, (0, 0), (1, self.random.uniform(0.25, 1)))
            else:
                cover = _polygon(pose, [(-0.7, 0.6), (0.7, 0.6), (0, -1)])
            self.paint(cover, self.colour())


def _turn(angle: float) -> Point:
    # Rounded, since the last bit of a cosine depends on the machine's library.
    return round(math.cos(angle), 6), round(math.sin(angle), 6)


def _pose(
    random: np.random.RandomState, place: Point, scale: tuple[float, float], turn: float
) -> _Pose:
    x, y = random.uniform(*place), random.uniform(*place)
    return _Pose(x, y, random.uniform(*scale), *_turn(random.uniform(-turn, turn)))


def _ellipse(pose: _Pose, centre: Point, radii: Point, tilt: float = 0.0) -> Grid:
    """How much of each pixel an ellipse covers, from 0 to 1."""
    x, y = pose.grid()
    x, y = x - centre[0], y - centre[1]
    cosine, sine = _turn(tilt)
    along, beside = (cosine * x + sine * y) / radii[0], (cosine * y - sine * x) / radii[1]
    distance = (1 - np.sqrt(along * along + beside * beside)) * min(radii) * pose.scale
    return np.clip(distance + 0.5, 0, 1)


def _polygon(pose: _Pose, corners: Sequence[Point]) -> Grid:
    """How much of each pixel a convex polygon covers; its corners run against the clock."""
    x, y = pose.grid()
    inside = np.full(x.shape, np.inf)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
        inside = np.minimum(inside, ((x - x0) * (y0 - y1) + (y - y0) * (x1 - x0)) / -length)
    return np.clip(inside * pose.scale + 0.5, 0, 1)


def _bear(canvas: _Canvas, pose: _Pose, fur: Grid, tint: Grid) -> None:
    spread, size = canvas.random.uniform(0.62, 0.82), canvas.random.uniform(0.3, 0.42)
    for side in (-1, 1):
        canvas.paint(_ellipse(pose, (side * spread, -0.78), (size, size)), fur)
        canvas.paint(_ellipse(pose, (side * spread, -0.78), (size / 2, size / 2)), tint)


def _cat(canvas: _Canvas, pose: _Pose, fur: Grid, tint: Grid) -> None:
    height = canvas.random.uniform(1.15, 1.45)
    for side in (-1, 1):
        ear = [(0.1, -0.75), (0.95, -0.25), (0.85, -height)]
        inner = [(0.4, -0.8), (0.8, -0.55), (0.78, 0.2 - height)]
        canvas.paint(_polygon(pose, _mirrored(ear, side)), fur)
        canvas.paint(_polygon(pose, _mirrored(inner, side)), tint)


def _rabbit(canvas: _Canvas, pose: _Pose, fur: Grid, tint: Grid) -> None:
    length, tilt = canvas.random.uniform(0.55, 0.8), canvas.random.uniform(-0.1, 0.45)
    for side in (-1, 1):
        centre = (side * (0.42 + 0.4 * tilt), -0.85 - length / 2)
        canvas.paint(_ellipse(pose, centre, (0.24, length), side * tilt), fur)
        canvas.paint(_ellipse(pose, centre, (0.12, length * 0.75), side * tilt), tint)


def _ram(canvas: _Canvas, pose: _Pose, fur: Grid, tint: Grid) -> None:
    size = canvas.random.uniform(0.42, 0.56)
    for side in (-1, 1):
        centre = (side * 0.95, -0.42)
        outer = _ellipse(pose, centre, (size, size))
        hole = _ellipse(pose, (side * 1.02, -0.36), (size * 0.5, size * 0.5))
        canvas.paint(np.clip(outer - hole, 0, 1), tint)


def _chick(canvas: _Canvas, pose: _Pose, fur: Grid, tint: Grid) -> None:
    side = 1 if canvas.random.random_sample() < 0.5 else -1
    length = canvas.random.uniform(1.4, 1.7)
    canvas.paint(
        _polygon(pose, _mirrored([(0.75, 0.35), (length, 0.1), (0.75, -0.25)], side)), tint
    )


def _mirrored(corners: Sequence[Point], side: int) -> list[Point]:
    turned = [(side * x, y) for x, y in corners]
    return turned if side > 0 else turned[::-1]


_KINDS: dict[str, Callable[[_Canvas, _Pose, Grid, Grid], None]] = {
    "bear": _bear,
    "cat": _cat,
    "chick": _chick,
    "rabbit": _rabbit,
    "ram": _ram,
}


_FUR = {
    "bear": (0.5, 0.34, 0.24),
    "cat": (0.8, 0.55, 0.3),
    "chick": (0.9, 0.8, 0.35),
    "rabbit": (0.75, 0.7, 0.75),
    "ram": (0.45, 0.5, 0.6),
}
"""The colour around which each kind's usual colours lie, overlapping with its neighbours'."""

USUAL = 0.85
"""Part of the creatures in a usual colour; the others have any."""


def _picture(kind: str, random: np.random.RandomState) -> NDArray[np.uint8]:
    canvas = _Canvas(random)
    canvas.clutter(random.randint(1, 4), (5, 13))
    pose = _pose(random, (0.42 * SIDE, 0.58 * SIDE), (0.19 * SIDE, 0.27 * SIDE), 0.45)
    fur, tint = canvas.colour(), canvas.colour()
    if random.random_sample() < USUAL:
        fur = np.clip(_FUR[kind] + random.uniform(-0.25, 0.25, 3), 0.05, 0.95)
    _KINDS[kind](canvas, pose, fur, tint)
    canvas.paint(_ellipse(pose, (0, 0), (random.uniform(0.88, 1.1), 1)), fur)
    eye, gap = random.uniform(0.1, 0.18), random.uniform(0.28, 0.42)
    for side in (-1, 1):
        canvas.paint(_ellipse(pose, (side * gap, -0.2), (eye, eye)), canvas.colour() * 0.3)
    canvas.paint(_ellipse(pose, (0, 0.35), (random.uniform(0.1, 0.35), 0.12)), tint * 0.6)
    canvas.clutter(random.randint(0, 3), (3, 8))
    return _developed(canvas.pixels, random)


def _developed(pixels: Grid, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Light and grain: brightness, contrast, and noise of two dice a byte."""
    light, contrast = random.uniform(-0.1, 0.1), random.uniform(0.7, 1.0)
    grain = random.uniform(0.02, 0.2)
    dice = random.randint(0, 256, (2, *pixels.shape), dtype=np.uint8).astype(np.float64)
    noisy = 0.5 + light + contrast * (pixels - 0.5) + grain * ((dice[0] + dice[1]) / 510 - 0.5)
    developed: NDArray[np.uint8] = np.clip(np.rint(noisy * 255), 0, 255).astype(np.uint8)
    return developed
