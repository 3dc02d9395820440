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
    label_smoothing: float = setting(
        0.0,
        "Share of the target that is spread evenly over all classes while training (Szegedy et "
        "al. 2016); 0.1 is usual.",
        low=0.0,
        high=0.9,
        late="0.2.0",
    )
    class_weights: str = setting(
        "none",
        "Weight of a picture in the training loss: none, all the same, or balanced, inverse to "
        "the number of its class's training pictures, as in scikit-learn.",
        choices=("none", "balanced"),
        late="0.2.0",
    )
    mixup: float = setting(
        0.0,
        "Strength of mixup (Zhang et al. 2018): training pictures and their targets are averaged "
        "in pairs, by shares from Beta(mixup, mixup); 0 is off, 0.2 usual.",
        low=0.0,
        high=10.0,
        late="0.2.0",
    )
    cutmix: float = setting(
        0.0,
        "Strength of CutMix (Yun et al. 2019): a box of one training picture is put into "
        "another, its area from Beta(cutmix, cutmix); 0 is off, 1 usual. With mixup, each half of "
        "the time.",
        low=0.0,
        high=10.0,
        late="0.2.0",
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
        "Learning rate over time: piecewise constant by breakpoints; cosine down to zero; "
        "one_cycle (Smith and Topin 2018), up to lr in three tenths of the steps and down again, "
        "as torch's OneCycleLR; restarts (Loshchilov and Hutter 2017), a cosine that begins "
        "again; or plateau, lower when the validation loss falls no more, as torch's "
        "ReduceLROnPlateau.",
        choices=("breakpoints", "cosine", "one_cycle", "restarts", "plateau"),
    )
    restart_epochs: int = setting(
        10,
        "Epochs of restarts' first cosine; only restarts reads it.",
        low=1,
        high=100_000,
        late="0.2.0",
    )
    restart_factor: int = setting(
        2,
        "How many times longer each of restarts' cosines is than the one before.",
        low=1,
        high=100,
        late="0.2.0",
    )
    plateau_patience: int = setting(
        5,
        "Epochs without a lower validation loss after which plateau lowers the rate.",
        low=0,
        high=100_000,
        late="0.2.0",
    )
    plateau_factor: float = setting(
        0.1, "What plateau then multiplies the rate by.", low=1e-6, high=1.0, late="0.2.0"
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
        0.9, "First-moment decay of adam, adamw and lamb; only they read it.", low=0.0, high=0.9999
    )
    beta2: float = setting(
        0.999,
        "Second-moment decay of adam, adamw and lamb; only they read it.",
        low=0.0,
        high=0.999999,
    )
    smoothing: float = setting(
        0.99, "Decay of rmsprop's squared gradients; only it reads it.", low=0.0, high=0.999999
    )
    weight_decay: float = setting(
        0.0, "L2 penalty on weights, not on biases and normalisation.", low=0.0, high=1.0
    )
    gradient_clip: float = setting(
        0.0,
        "The most that the L2 norm of a step's gradient may be, which is else scaled down to it "
        "(Pascanu et al. 2013); 0 means no limit.",
        low=0.0,
        high=1e6,
        late="0.2.0",
    )
    accumulate: int = setting(
        1,
        "Batches whose gradients make up one step; gd takes all pictures anyway.",
        low=1,
        high=65_536,
        late="0.2.0",
    )
    ema: float = setting(
        0.0,
        "Decay of a running average of the weights that is evaluated and kept in their place "
        "(Polyak and Juditsky 1992), 0.999 for thousands of steps; 0 means none.",
        low=0.0,
        high=0.99999,
        late="0.2.0",
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
    precision: str = setting(
        "fp32",
        "Arithmetic of the model: fp32; tf32, on GPUs that have it; or bf16 or fp16, by torch's "
        "autocast with weights in fp32, where fp16 scales its losses.",
        choices=("fp32", "tf32", "bf16", "fp16"),
        late="0.2.0",
    )
    memory_format: str = setting(
        "contiguous",
        "Memory layout of pictures and convolutions.",
        choices=("contiguous", "channels_last"),
    )
    evaluation_batch_size: int = setting(
        256, "Pictures per evaluation step; pinned, since sums depend on it.", low=1, high=65_536
    )
