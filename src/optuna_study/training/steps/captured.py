"""A step captured once and then replayed: on a GPU, one launch in place of a hundred.

Captured is `step.whole_step`, the step that is called elsewhere. A replay does the same work on
the same memory, so whatever differs from step to step lies in tensors that stay where they are:
the pictures' indices, the learning rates, shares and boxes of mixed pictures, the place in `seen`
where the step's figures go, and of a head's features, which have several versions, a copy.
Gradients are the graph's own: they lie in memory that it keeps, are written, not added to, and
need no zeroing. Random numbers come from torch's global generator and from `noise`, which count
on from replay to replay and are seeded between them.

As torch's notes on CUDA graphs have it, the step is called a few times before, on a stream of its
own. These calls also make the optimizer's state. Afterwards everything is put back.

Two replays, of other pictures and at other rates than the captured ones, are held against two
calls from the same state. Where figures differ by more than TOLERANCE, or weights by more than
OF_THE_WAY of what they moved, the graph is not used. Kernels that add in no fixed order, and ones
chosen anew, differ by 1e-6 to 1e-3; but Adam moves a weight whose gradient is nothing but
rounding, as that of a bias before batch norm, by its whole rate to one side or the other.
"""

from __future__ import annotations

import copy
import math
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch

from optuna_study.seeds import stream_seed
from optuna_study.training.device import random_stream, read_numbers
from optuna_study.training.divergence import CHUNK
from optuna_study.training.optimizers import LR_FACTOR, rates_on_device
from optuna_study.training.recipe.mixing import HeldMixer, mixer_of
from optuna_study.training.steps import kept
from optuna_study.training.steps.step import whole_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna_study.config.settings import TrainSettings
    from optuna_study.training.recipe.mixing import Mixer
    from optuna_study.training.run import Run

TOLERANCE = 0.02
OF_THE_WAY = 0.1
CALLS_BEFORE = 3
HIGHEST_RATE = 0.01
"""At which two steps are compared, whatever the run's own: both must stay finite."""
ROUNDING = 1e-6  # of the weights; a smaller difference may be single precision's
LEAST = 1e-12  # a figure that is nothing has no relative difference
SEED = 1
_FIGURES = ("loss", "gradient norm", "number of right answers")


class Graphs(Protocol):
    """Captures work on a device; see `device.CudaGraphs`."""

    def warm_up(self, call: Callable[[], None], times: int) -> None:
        """Call it a few times, as the device asks for before a capture."""

    def capture(
        self, call: Callable[[], None], generators: Sequence[torch.Generator]
    ) -> Callable[[], None]:
        """What replays the work of a call; `generators` are those that it draws from."""


class Disagreement(RuntimeError):
    """A replayed step did something else than a called one."""


class CapturedStep:
    """One step of a run, captured; it belongs to the run until that is gone.

    Raises:
        Disagreement: the graph does not do what the step does.
        RuntimeError: or whatever else: the step cannot be captured. The run is as before.
    """

    def __init__(self, run: Run, graphs: Graphs) -> None:
        device = run.device
        self.key = kept.key_of(run.config, run.data, run.features)
        # All that the graph works on; the run itself may go, and what it has beside.
        self.parts = copy.copy(run)
        self.parts.average = self.parts.best = self.parts.observer = None
        if run.features is not None:
            own = run.features.training[0].clone()
            self.parts.features = replace(run.features, training=(own,))
        self.pictures = torch.arange(run.pictures_per_step, device=device)
        self.noise = torch.Generator(device)
        self.rates = [torch.zeros((), device=device) for _ in run.optimizer.param_groups]
        train = run.config.train
        self.mixer = HeldMixer(train, device) if train.mixup or train.cutmix else None
        self.seen = torch.zeros((3, CHUNK), device=device)
        self.place = torch.zeros((3, 1), dtype=torch.int64, device=device)
        self._owner = weakref.ref(run)
        self._replay = self._captured(graphs)

    def is_free_for(self, run: object) -> bool:
        """Whether it belongs to this run, or the one that it belonged to is gone."""
        owner = self._owner()
        return owner is None or owner is run

    def begin(self, epoch: int, settings: TrainSettings) -> None:
        """Seed what is drawn in an epoch, and write figures from the first place on."""
        self.noise.manual_seed(stream_seed(settings.seed, "augmentation", epoch))
        self.place.zero_()
        self._mixtures = iter(self._drawn(mixer_of(settings, epoch)))

    def _drawn(self, mixer: Mixer | None) -> Sequence[torch.Tensor]:
        """The mixtures of an epoch's steps."""
        if self.mixer is None or mixer is None:
            return ()
        # Two at least, which is what is compared.
        return self.mixer.table(mixer, max(self.parts.steps_per_epoch, 2)).unbind()

    def take_features(self, run: Run) -> None:
        """Where it is a head that learns: the version of the pictures that is the epoch's."""
        if self.parts.features is not None and run.features is not None:
            versions = run.features.training
            self.parts.features.training[0].copy_(versions[run.epoch % len(versions)])

    def take_rates(self) -> None:
        """Take over the learning rates that the optimizer's groups have."""
        for rate, group in zip(self.rates, self.parts.optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])

    def take(self, pictures: torch.Tensor) -> None:
        """Replay the step for the pictures at some indices."""
        self._take(pictures)
        self._replay()

    def _take(self, pictures: torch.Tensor) -> None:
        self.pictures.copy_(pictures)
        if self.mixer is not None:
            self.mixer.numbers.copy_(next(self._mixtures))

    def take_over(self, run: Run) -> None:
        """Take another run of the same key: its weights and state into the captured tensors."""
        ours, theirs = _tensors(self.parts), _tensors(run)
        with torch.no_grad():
            for name, tensor in ours.items():
                if name in theirs:
                    tensor.copy_(theirs[name])
                else:
                    tensor.zero_()  # state that the optimizer has not made yet
        run.model, run.optimizer = self.parts.model, self.parts.optimizer
        run.parameters = self.parts.parameters
        if run.average is not None:
            run.average = replace(run.average, model=run.model)
        self._owner = weakref.ref(run)

    def _call(self) -> None:
        figures = whole_step(self.parts, self.pictures, self.noise, self.mixer)
        column = torch.stack([figure.detach().float() for figure in figures]).unsqueeze(1)
        self.seen.scatter_(1, self.place, column)
        self.place.add_(1)

    def _captured(self, graphs: Graphs) -> Callable[[], None]:
        run, optimizer = self.parts, self.parts.optimizer
        before = {name: each.detach().clone() for name, each in _tensors(run).items()}
        named = run.model.named_parameters()
        weights = [before[name] for name, each in named if each.requires_grad]
        buffers = [each.clone() for each in _buffers(run)]
        modes = {module: module.training for module in run.model.modules()}
        run.model.train()
        try:
            with random_stream(run.device, SEED), rates_on_device(optimizer, self.rates):
                graphs.warm_up(self._call, CALLS_BEFORE)
                called = self._two_steps(self._call, before)
                try:
                    replay = graphs.capture(self._call, [self.noise])
                except Exception:
                    kept.give_up()
                    raise
                replayed = self._two_steps(replay, before)
            _require_same(weights, buffers, called, replayed, run.pictures_per_step)
        finally:
            _put_back(run, before)
            for module, training in modes.items():
                module.training = training
        return replay

    def _two_steps(self, call: Callable[[], None], before: dict[str, torch.Tensor]) -> _Outcome:
        """What two steps come to from the state before, on other pictures at other rates."""
        run, size, settings = self.parts, self.parts.pictures_per_step, self.parts.config.train
        _put_back(run, before)
        self.begin(1, settings)
        self.seen.zero_()
        every = torch.arange(len(run.data.train_labels), device=run.device)
        with random_stream(run.device, SEED):
            for pictures, share in ((every[-size:], 1.0), (every[:size].flip(0), 0.5)):
                for rate, group in zip(self.rates, run.optimizer.param_groups, strict=True):
                    factor = share * group.get(LR_FACTOR, 1.0)
                    rate.fill_(factor * min(settings.lr, HIGHEST_RATE))
                self._take(pictures)
                call()
        return _Outcome(
            self.seen[:, :2].clone(),
            [each.detach().clone() for each in run.parameters],
            [each.clone() for each in _buffers(run)],
        )


@dataclass(frozen=True)
class _Outcome:
    """Losses, norms, right answers (3, steps) of some steps; weights and buffers after them."""

    figures: torch.Tensor
    weights: list[torch.Tensor]
    buffers: list[torch.Tensor]


def _buffers(run: Run) -> list[torch.Tensor]:
    """Those of the model that are no counts, as batch norm's means and variances."""
    return [each.float() for each in run.model.buffers() if each.is_floating_point()]


def _tensors(run: Run) -> dict[str, torch.Tensor]:
    """All that a step changes: parameters, buffers, and the optimizer's state, by name."""
    found: dict[str, torch.Tensor] = {
        **dict(run.model.named_parameters()),
        **dict(run.model.named_buffers()),
    }
    for index, parameter in enumerate(run.parameters):
        for name, value in run.optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                found[f"{index} {name}"] = value
    return found


@torch.no_grad()
def _put_back(run: Run, before: dict[str, torch.Tensor]) -> None:
    """Give everything the values of `before`; state that has been made since then is all zeros.

    That is what torch's optimizers start from: a momentum of zeros gives the first step's numbers.
    """
    for name, tensor in _tensors(run).items():
        if name in before:
            tensor.copy_(before[name])
        else:
            tensor.zero_()


def _require_same(
    weights: list[torch.Tensor],
    buffers: list[torch.Tensor],
    called: _Outcome,
    replayed: _Outcome,
    pictures: int,
) -> None:
    """Refuse a graph that does not come to what calls come to, from these weights and buffers.

    Raises:
        Disagreement: it does not; the text has the figure.
    """
    moves = {"weights": _moves(weights, called.weights, replayed.weights)}
    if buffers:
        moves["buffers"] = _moves(buffers, called.buffers, replayed.buffers)
    parts = (called.figures.flatten(), replayed.figures.flatten(), *moves.values())
    numbers = read_numbers(torch.cat(parts))
    count = called.figures.numel()
    expected, found, rest = numbers[:count], numbers[count : 2 * count], numbers[2 * count :]
    steps = count // len(_FIGURES)
    for index, (one, other) in enumerate(zip(expected, found, strict=True)):
        name = _FIGURES[index // steps]
        # An answer may turn where two classes are as likely; the others are no counts.
        slack = 1 + TOLERANCE * pictures if name == _FIGURES[-1] else LEAST
        same = abs(one - other) <= TOLERANCE * abs(one) + slack
        if not (same or math.isfinite(one) is math.isfinite(other) is False):
            raise Disagreement(
                f"the {name} of a replayed step is {other:.6g}, of the same step called {one:.6g}"
            )
    for index, what in enumerate(moves):
        moved, apart, length = rest[3 * index : 3 * index + 3]
        if math.isfinite(moved) and not apart <= OF_THE_WAY * moved + ROUNDING * length:
            raise Disagreement(
                f"two replayed steps leave {what} {apart:.3g} from those of the same steps "
                f"called, which move them by {moved:.3g}"
            )


def _moves(
    before: list[torch.Tensor], called: list[torch.Tensor], replayed: list[torch.Tensor]
) -> torch.Tensor:
    """How far calls move some tensors, how far replays end from there, and their length before."""
    way, gap = torch._foreach_sub(called, before), torch._foreach_sub(replayed, called)
    return torch.stack([_length(way), _length(gap), _length(before)])


def _length(tensors: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The L2 norm of all numbers of some tensors together."""
    length: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return length
