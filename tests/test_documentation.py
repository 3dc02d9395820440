"""The pages say what is there: links lead somewhere, and the generated page is fresh."""

from __future__ import annotations

import itertools
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
COMMAND = re.compile(r"`(?:python|pytest) (tests/[^\s`]+)(?: -k (\w+))?")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    found = set()
    for heading in HEADING.findall(page.read_text()):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_top_level_is_what_contributing_draws() -> None:
    tree = (ROOT / "CONTRIBUTING.md").read_text()
    for name in ("studies", "src", "tests", "docker", "storage", "docs", ".ci"):
        assert f"{name}/" in tree


def test_the_gate_runs_the_test_command_of_the_readme() -> None:
    (command,) = re.findall(r"^pip install .*pytest.*$", (ROOT / "README.md").read_text(), re.M)
    lines = (ROOT / ".ci/run").read_text().splitlines()
    install, test = command.split(" && ")
    assert install in lines
    assert f"{test} || failed=$?" in lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_scripts_and_tests_that_pages_name_are_there(page: Path) -> None:
    for path, word in COMMAND.findall(page.read_text()):
        assert (ROOT / path).exists(), path
        names = re.findall(r"def (test_\w+)", (ROOT / path).read_text()) if word else []
        assert not word or any(word in name for name in names), f"{path} -k {word}"


def test_the_page_of_dependencies_has_all_that_the_project_and_its_extras_name() -> None:
    """A new dependency is looked at: `.ci/audit` makes the page anew."""
    extras = PROJECT["optional-dependencies"].values()
    page = (ROOT / "docs/dependencies.md").read_text()
    for requirement in itertools.chain(PROJECT["dependencies"], *extras):
        name = re.split(r"[^\w.-]", requirement)[0].lower()
        assert f" {name} " in page
    assert "not looked at" not in page


def test_an_audit_says_which_extras_it_could_not_look_at() -> None:
    audit = runpy.run_path(str(ROOT / ".ci/audit.py"))
    there = audit["installed"](sys.executable)
    there.pop("ray", None)
    needed, missing = audit["needs"](
        {"dependencies": ["optuna"], "optional-dependencies": {"ray": ["ray[client]>=2"]}}, there
    )
    assert (needed["optuna"], missing) == ("needed to run", {"ray": {"ray"}})
    said = "ray: ray and what it brings: not installed, so not looked at."
    assert said in audit["page"]([], missing, None)
