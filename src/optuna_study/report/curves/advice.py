"""What to do about a curve, as far as the trial does not do it already; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna_study.report.curves.patterns import Curve


def better_weights(curve: Curve) -> str:
    """What to do about layers that pass little on, as far as the trial does not do it already."""
    scaled, normalised = curve.expected.scaled_weights, curve.expected.normalised
    if scaled and normalised:
        return "Let the learning rate rise over a warm-up, or take another activation"
    if scaled:
        return "Normalise the layers, or take another activation"
    draw = "Draw the initial weights with he (ReLU) or xavier (tanh, sigmoid)"
    return draw if normalised else f"{draw}, or normalise the layers"


def nearer_to_guessing(curve: Curve) -> str:
    """What to do about outputs that begin far from guessing."""
    if curve.expected.scaled_weights:
        return "Raise the learning rate, or normalise the layers"
    return (
        "Draw smaller initial weights (he, xavier or a lower initialisation_std), which begin "
        "nearer to guessing"
    )


def lower_rate(lr: float) -> str:
    """The advice for a run that diverges at a learning rate."""
    return (
        f"Lower the learning rate from {lr:.4g} to {lr / 10:.2g} or less; if it still rises, the "
        "gradient points the wrong way: `optuna-study validate --overfit` tells."
    )
