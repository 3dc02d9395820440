"""The queue of trials: claims, ownership, budget, ends."""
