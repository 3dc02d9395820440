"""The settings of `[train]`: how the weights are found."""

from __future__ import annotations

from dataclasses import dataclass

from optuna_study.config.setting import Pairs, setting


@dataclass(frozen=True)
class TrainSettings:
    """How the weights are found."""

    objective: str = setting(
        "default",
        "What trains an epoch: `default` is the loop here, with the settings below; or a function "
        "of one's own as package.module:function.",
        choices=("default",),
        late="0.1.0",
    )
    epochs: int = setting(10, "Passes over the training pictures.", low=1, high=100_000)
    epoch: str = setting(
        "last",
        "Whose weights and figures a run ends with: its last epoch's, or its best one's by the "
        "study's metric.",
        choices=("last", "best"),
        late="0.2.0",
    )
    patience: int = setting(
        0,
        "Epochs in a row without a new best by the study's metric that end a run early, as "
        "completed; 0 means none do.",
        low=0,
        high=100_000,
        late="0.2.0",
    )
    batch_size: int = setting(
        32,
        "Pictures per step; of gd, whose step takes all pictures, those worked on at once.",
        low=1,
        high=65_536,
    )
    loss: str = setting(
        "cross_entropy",
        "Loss; mse and bce are taken on one-hot targets.",
        choices=("cross_entropy", "mse", "bce"),
    )
    mse_of: str = setting(
        "sigmoid",
        "What mse compares with the targets: the outputs' sigmoid, or their activation, the "
        "model's own; only mse reads it.",
        choices=("sigmoid", "activation"),
        late="0.1.0",
    )
    optimizer: str = setting("sgd", "Optimizer.", choices="OPTIMIZERS")
    lr: float = setting(0.01, "Learning rate at the start.", low=1e-8, high=100.0)
    backbone_lr_factor: float = setting(
        1.0,
        "Factor on the learning rate of a pretrained model's layers below its head; small ones "
        "change less of what it has learned.",
        low=0.0,
        high=1.0,
        late="0.2.0",
    )
    breakpoints: Pairs = setting(
        (),
        "Learning-rate changes as [epoch, lr] pairs: from the end of that epoch on, that rate; "
        "ordered by epoch.",
    )
    schedule: str = setting(
        "breakpoints",
        "Learning rate over time: piecewise constant by breakpoints, or cosine down to zero.",
        choices=("breakpoints", "cosine"),
    )
    warmup_epochs: float = setting(
        0.0,
        "Epochs over which the learning rate first rises linearly from zero.",
        low=0.0,
        high=1000.0,
    )
    momentum: float = setting(
        0.9,
        "Momentum of momentum, nesterov and rmsprop; only they read it. RMSProp as it was "
        "published, and torch's own default, has none: that is momentum 0.",
        low=0.0,
        high=0.9999,
    )
    beta1: float = setting(
        0.9, "First-moment decay of adam and adamw; only they read it.", low=0.0, high=0.9999
    )
    beta2: float = setting(
        0.999, "Second-moment decay of adam and adamw; only they read it.", low=0.0, high=0.999999
    )
    smoothing: float = setting(
        0.99, "Decay of rmsprop's squared gradients; only it reads it.", low=0.0, high=0.999999
    )
    weight_decay: float = setting(
        0.0, "L2 penalty on weights, not on biases and normalisation.", low=0.0, high=1.0
    )
    seed: int = setting(
        0,
        "Seed of weights, order, augmentation and dropout; a search derives one per trial.",
        low=0,
        high=2**63 - 1,
    )
    shuffle: str = setting(
        "every_epoch",
        "When training pictures are shuffled: before every epoch, or once, so that all epochs "
        "take them in one order and never those that whole batches leave over at its end.",
        choices=("every_epoch", "once"),
        late="0.1.0",
    )
    threads: int = setting(
        0,
        "CPU threads of one run; 0 means all cores, pinned when a study is made.",
        low=0,
        high=1024,
    )
    memory_format: str = setting(
        "contiguous",
        "Memory layout of pictures and convolutions.",
        choices=("contiguous", "channels_last"),
    )
    evaluation_batch_size: int = setting(
        256, "Pictures per evaluation step; pinned, since sums depend on it.", low=1, high=65_536
    )
