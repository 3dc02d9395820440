"""Which study a name means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from optuna_study.store.schema import studies
from optuna_study.store.studies.studies import load_study

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_bare_name_means_the_variant_that_was_worked_on_last(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    url, store = stored_study.url, stored_study.store
    stored_study.run([0.25])
    assert cli("copy", "small", "--name", "later", "--storage", url, "--to", url).code == 0
    with store.write() as connection:
        for old, new in (("small", "small@cpu"), ("later", "small@cpu-digits")):
            renamed = update(studies).where(studies.c.study_name == old).values(study_name=new)
            connection.execute(renamed)
    said = "small@cpu, which was worked on last; there is also small@cpu-digits.\n"
    stored_study.study = load_study(store, "small@cpu")
    stored_study.run([0.75])
    shown = cli("show", "small", "--storage", url)
    assert (shown.code, shown.err) == (0, said)
    assert shown.out.startswith("small@cpu\n")
    assert cli("trials", "small@cpu-digits", "--storage", url).err == ""
    refused = cli("delete", "small", "--yes", "--storage", url)
    assert refused.code == 4
    assert "'small' has several variants" in refused.err
