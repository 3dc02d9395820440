"""The two loops that ours is measured by, frozen: what people write, and the best they could.

P0 is Optuna's own example (`optuna-examples`, pytorch/pytorch_simple.py) on a data set in memory:
a DataLoader of PIL pictures and `ToTensor` built within the objective, no worker of its own, one
`.item()` for each validation batch, TPE and MedianPruner, SQLite as `create_study` makes it.
P1 is a strong plain loop: float pictures ready on the device, batches by index, torch's fused
optimizer, one read an epoch. Neither is to be changed when ours is: the ratios would mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import optuna
    from numpy.typing import NDArray

    Loader = DataLoader[tuple[torch.Tensor, int]]

BATCH, EPOCHS, UNITS = 128, 10, 100


@dataclass(frozen=True)
class Split:
    """Grey uint8 pictures (N, size, size) with labels (N,), to train on and to validate on."""

    train: tuple[NDArray[Any], NDArray[Any]]
    validation: tuple[NDArray[Any], NDArray[Any]]
    classes: int

    @property
    def pixels(self) -> int:
        return int(self.train[0][0].size)


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's MNIST hands its pictures out: a PIL picture each time, then `ToTensor`."""

    def __init__(self, images: NDArray[Any], labels: NDArray[Any]) -> None:
        from torchvision.transforms import ToTensor  # here: who trains as P1 does pays for no P0

        self.images, self.labels, self.to_tensor = images, labels, ToTensor()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image

        return self.to_tensor(Image.fromarray(self.images[index])), int(self.labels[index])


def net(split: Split, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(split.pixels, UNITS),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(UNITS, split.classes),
    )


def suggest(trial: optuna.Trial, split: Split, **options: Any) -> tuple[nn.Module, Any]:
    """A net and its optimizer: the same three choices for every side."""
    model = net(split, trial.suggest_float("dropout", 0.0, 0.5))
    name = trial.suggest_categorical("optimizer", ["Adam", "RMSprop", "SGD"])
    lr = trial.suggest_float("lr", 1e-4, 0.1, log=True)
    return model, new_optimizer(model, name, lr, **options)


def new_optimizer(model: nn.Module, name: str, lr: float, **options: Any) -> Any:
    """An optimizer of torch by its name."""
    if name == "RMSprop":  # torch has no fused one
        options = {}
    return getattr(torch.optim, name)(model.parameters(), lr=lr, **options)


def p0_trial(trial: optuna.Trial, split: Split) -> float:
    model, optimizer = suggest(trial, split)
    train = DataLoader(Pictures(*split.train), BATCH, shuffle=True)
    validation = DataLoader(Pictures(*split.validation), BATCH, shuffle=True)
    return reported(trial, p0_epochs(model, optimizer, train, validation, EPOCHS))


def p0_epochs(
    model: nn.Module, optimizer: Any, train: Loader, validation: Loader, epochs: int
) -> Iterator[float]:
    """The validation accuracy after each epoch of P0, also for other pictures."""
    for _ in range(epochs):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()
        model.eval()
        correct, seen = 0, 0
        with torch.no_grad():
            for images, labels in validation:
                guessed = model(images).argmax(dim=1, keepdim=True)
                correct += guessed.eq(labels.view_as(guessed)).sum().item()
                seen += len(labels)
        yield correct / seen


def p1_trial(trial: optuna.Trial, split: Split) -> float:
    model, optimizer = suggest(trial, split, fused=True)
    return reported(trial, p1_epochs(model, optimizer, split))


def reported(trial: optuna.Trial, accuracies: Iterable[float]) -> float:
    """The last accuracy; each is reported as its epoch's."""
    accuracy = 0.0
    for epoch, accuracy in enumerate(accuracies):
        trial.report(accuracy, epoch)
    return accuracy


def p1_epochs(model: nn.Module, optimizer: Any, split: Split) -> Iterator[float]:
    """The validation accuracy after each epoch of P1, also for other ways to search."""
    images, labels = floats(split.train[0]), torch.from_numpy(split.train[1]).long()
    held_out, truth = floats(split.validation[0]), torch.from_numpy(split.validation[1]).long()
    for _ in range(EPOCHS):
        model.train()
        order = torch.randperm(len(labels))
        for batch in order[: len(labels) // BATCH * BATCH].view(-1, BATCH).unbind():
            p1_step(model, optimizer, images[batch], labels[batch])
        model.eval()
        with torch.no_grad():
            accuracy = (model(held_out).argmax(dim=1) == truth).float().mean().item()
        yield accuracy


def p1_step(model: nn.Module, optimizer: Any, images: torch.Tensor, labels: torch.Tensor) -> None:
    """One update of P1, also for nets of other studies."""
    optimizer.zero_grad()
    torch.autograd.backward(nn.functional.cross_entropy(model(images), labels))
    optimizer.step()


def search(
    objective: Callable[[optuna.Trial, Split], float], split: Split, trials: int, url: str
) -> tuple[float, list[float]]:
    """Search as Optuna's documentation does, without pruning; best accuracy, each trial's end."""
    import optuna

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=url, direction="maximize")
    study.optimize(lambda trial: objective(trial, split), n_trials=trials)
    return found(study)


def found(study: optuna.Study) -> tuple[float, list[float]]:
    """The best accuracy of a study, and when each trial ended."""
    ends = [each.datetime_complete for each in study.trials]
    return float(study.best_value), [each.timestamp() for each in ends if each is not None]


def floats(images: NDArray[Any]) -> torch.Tensor:
    """Pictures as P1 holds them."""
    return torch.from_numpy(images).float().div_(255).unsqueeze(1)
