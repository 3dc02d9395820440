from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_study_is_copied_and_read_in_its_new_store(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    stored_study.run([0.5, 0.75])
    stored_study.start([0.25])
    to = f"sqlite:///{tmp_path / 'other.db'}"
    (tmp_path / "there").mkdir()
    result = cli(
        *("copy", "small", "--storage", stored_study.url, "--to", f"{to[:-8]}there/other.db"),
        *("--to-artifacts", "there"),
    )
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"small is now small in {to[:-8]}there/other.db as well: 2 trials, "
        "1 of them running before, 0 files\n"
    )
    shown = cli("show", "small", "--storage", f"{to[:-8]}there/other.db")
    assert (shown.code, "Best: trial 0" in shown.out) == (0, True)


def test_within_one_store_a_copy_needs_a_name(stored_study: Any, cli: Callable[..., Any]) -> None:
    places = ("--storage", stored_study.url, "--to", stored_study.url)
    result = cli("copy", "small", *places)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"Error: small in {stored_study.url}: that is the study itself; choose another name for "
        "the copy with --name\n"
    )
    assert cli("copy", "small", *places, "--name", "second").code == 0
    again = cli("copy", "small", *places, "--name", "second")
    assert again.code == 2
    assert "a study of that name is there already; choose another name" in again.err
    listed = cli("list", "--storage", stored_study.url, "-f", "csv").out.splitlines()
    assert [line.partition(",")[0] for line in listed[1:]] == ["small", "second"]


def test_a_target_that_cannot_be_written_is_named_with_its_own_option(
    stored_study: Any, cli: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    places = ("--storage", stored_study.url, "--to", stored_study.url)
    there = ("--name", "b", "--to-artifacts", str(tmp_path / "taken"))
    result = cli("copy", "small", *places, *there)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path}/taken: cannot be written (File exists); choose another folder with "
        "--to-artifacts\n"
    )


def test_a_password_in_the_target_is_never_shown(
    stored_study: Any, cli: Callable[..., Any]
) -> None:
    url = "postgresql://ann:hunter2@127.0.0.1:1/x?sslpassword=hunter3"
    result = cli("--debug", "copy", "small", "--storage", stored_study.url, "--to", url)
    assert (result.code, result.out) == (5, "")
    assert "ann:***@127.0.0.1:1" in result.err
    assert "hunter" not in result.err
