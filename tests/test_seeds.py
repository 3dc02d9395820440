"""Seeds never change: what is stored was drawn and trained with them."""

from __future__ import annotations

from optuna_study import seeds


def test_seeds_are_those_of_the_first_version() -> None:
    assert seeds.trial_seed(0, 0) == 713683445
    assert seeds.trial_seed(7, 41) == 860540317
    assert seeds.stream_seed(3, "order", 1) == 8757775722026406990
    assert seeds.stream_seed(3, "weights") == 3259301387365201187
    assert seeds.sampler_seed(0, 0) == 1024908002
    assert seeds.sampler_seed(2**62, 999) == 3113299190
    assert seeds.second_seed(5) == 2393318114474429684
    assert seeds.lattice_seed(5) == 2306437297682208768
    assert seeds.lattice_shift(5, 2) == 0.24160854608527108


def test_seeds_of_neighbours_differ() -> None:
    found = {seeds.trial_seed(study, number) for study in range(50) for number in range(50)}
    assert len(found) == 2500
