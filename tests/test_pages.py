"""The README's commands and the tutorial's, in sequence, as printed, on a folder of pictures.

A `bash` block is run line by line, in a network of its own with nothing in it where that can be
had. The `text` block behind it is what its commands print to stdout: a line `...` stands for any
words. Figures may differ, and so may which baseline is the best one, what the verdict is, how many
were confirmed and how many trials ended how.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/tutorial.md")
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLASSES = {
    "daisy": "#c8c8a0",
    "roses": "#c06070",
    "sunflowers": "#d0b040",
    "tulips": "#c080b0",
}
PICTURES = 8  # a class
WITHOUT_NETWORK = ("unshare", "--net")
SPOKEN_FOR = ("pip", "pytest", "git", "cd")  # setting up is what a test runs in

NAMES = "|".join(CLASSES)
ENDS = "completed|pruned|diverged|out_of_memory|failed"
MAY_DIFFER = (
    (r"[▁▂▃▄▅▆▇█·]+", ""),
    (r"[-+]?\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?", "0"),
    (r"\b0-0-0 0\b", "TIME"),
    (r"\b0 (?:s|min|h|d)(?: 0 (?:s|min|h))?\b", "SECONDS"),
    (
        r"Best baseline: [\w-]+ \(trial 0\), 0 %; the best is (?:0 points better|the same)\.",
        "HELD",
    ),
    (r"It is the baseline [\w-]+; no trial of the search beats it\.", "HELD"),
    (
        r"(?:Trial 0|The baseline [\w-]+) (?:and [\w -]+ are not distinguishable|is better than "
        r"[\w -]+|is worse than [\w -]+): [^:;.]+(?:; [^:;.]+ would tell)?\.",
        "VERDICT",
    ),
    (r"\b0 \((?:head|last|logistic|alexnet)[\w-]*\)", "0"),
    (r"(?:\b0 0 % 0 % \(0 to 0\) 0 % \(0 to 0\) 0\b ?)+", "ROWS "),
    (rf"(?<=: )0 (?:{ENDS})(?:, 0 (?:{ENDS}))*\.", "ENDS."),
    (rf"(?<=\.jpg )(?:{NAMES}) 0 % (?:{NAMES}) 0 %", "CLASS"),
)


@dataclass(frozen=True)
class Step:
    """Commands of a page and, where the page shows it, what they print."""

    commands: tuple[str, ...]
    printed: str


def steps(text: str) -> list[Step]:
    """What a page's reader does, from top to bottom."""
    found: list[Step] = []
    for kind, block in BLOCK.findall(text):
        if kind == "text":
            found.append(Step(found.pop().commands, block))
            continue
        lines = [" ".join(line.split()) for line in block.replace("\\\n", " ").splitlines()]
        commands = tuple(line for line in lines if line and line.split()[0] not in SPOKEN_FOR)
        found.append(Step(commands, ""))
    return [step for step in found if step.commands]


def plain(text: str) -> str:
    """The words without what may differ from run to run and from machine to machine."""
    text = " ".join(text.split())
    for pattern, instead in MAY_DIFFER:
        text = re.sub(pattern, instead, text)
    return " ".join(text.split())


def assert_printed(printed: str, output: str) -> None:
    """All that a page shows is in the output, in order; only `...` skips words."""
    said = f"{plain(output)} "
    at = 0
    for number, part in enumerate(re.split(r"^\.\.\.$", printed, flags=re.MULTILINE)):
        expected = plain(part)
        if not expected:
            continue
        found = said.find(f"{expected} ", at) if number else 0
        assert found >= 0, f"not printed: {expected}\n{said[at:]}"
        assert said[found:].startswith(f"{expected} "), f"begins otherwise: {expected}\n{said}"
        at = found + len(expected)


def draw_pictures(folder: Path) -> None:
    """Four kinds of flowers in noise, with copies and a file that is no picture."""
    random = np.random.default_rng(7)
    for label, colour in CLASSES.items():
        (folder / label).mkdir(parents=True)
        for number in range(PICTURES):
            picture = Image.fromarray(random.integers(0, 160, (72, 72, 3), dtype=np.uint8))
            pen = ImageDraw.Draw(picture)
            x, y = random.integers(14, 40, 2)
            for left, top in random.uniform(-12, 12, (6, 2)) + np.array([x, y]):
                pen.ellipse((left, top, left + 15, top + 15), fill=colour)
            picture.save(folder / label / f"{number:04}.jpg")
    shutil.copy(folder / "roses" / "0003.jpg", folder / "tulips" / "0005.jpg")
    shutil.copy(folder / "sunflowers" / "0003.jpg", folder / "sunflowers" / "0006.jpg")
    with Image.open(folder / "daisy" / "0001.jpg") as picture:
        picture.save(folder / "daisy" / "0002.jpg", quality=80)
    (folder / "CHANGES.txt").write_text("what was changed\n")


def has_no_network() -> list[str]:
    """What takes the network away from a command; nothing where that takes more rights."""
    if shutil.which(WITHOUT_NETWORK[0]) is None:
        return []
    tried = subprocess.run([*WITHOUT_NETWORK, "true"], check=False, capture_output=True)
    return [] if tried.returncode else list(WITHOUT_NETWORK)


class Reader:
    """Somebody in a folder who types what the pages say; what was typed before is not repeated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: dict[str, str] = {}
        self.before = has_no_network()
        program = folder / "bin" / "optuna-study"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m optuna_study "$@"\n')
        program.chmod(0o755)
        kept = {name: text for name, text in os.environ.items() if name not in CACHES}
        self.environment = {
            **{name: text for name, text in kept.items() if not name.startswith("OPTUNA")},
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),  # nothing of a home's caches either
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "80",
            "OMP_NUM_THREADS": "1",
        }

    def types(self, command: str) -> str:
        """What a command prints to stdout."""
        if command not in self.said:
            done = subprocess.run(
                [*self.before, "/bin/bash", "-c", command],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            # What `data check` has to say of a folder, it says with exit code 1.
            assert done.returncode in ((0, 1) if "data check" in command else (0,)), done.stderr
            self.said[command] = done.stdout
        return self.said[command]


CACHES = ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")


@pytest.mark.slow
def test_commands_work_in_sequence_and_print_what_the_pages_show(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "flower")
    reader = Reader(tmp_path)
    for page in PAGES:
        for step in steps((ROOT / page).read_text(encoding="utf-8")):
            output = "".join(map(reader.types, step.commands))
            if step.printed:
                assert_printed(step.printed, output)
    # The weights came with a package: there was no network, and nothing in the home folder.
    assert 'weights = "timm:tf_efficientnet_lite0 sha256:' in (tmp_path / "best.toml").read_text()
    # What learns more than a head is the same again, too.
    reader.types("optuna-study export flower --trial 2 -o stage.toml")
    assert 'train_layers = "last_stage"' in (tmp_path / "stage.toml").read_text()
    told = reader.types("optuna-study train stage.toml -o stage --verify")
    assert "agree to the last bit" in told


def test_a_missing_word_is_noticed() -> None:
    assert_printed("a 1\n...\nc\n", "a 2\nb\nc\nd\n")
    with pytest.raises(AssertionError, match="begins otherwise: b"):
        assert_printed("b\n", "a\nb\n")
    with pytest.raises(AssertionError, match="not printed: b"):
        assert_printed("a\n...\nb\n", "a\nc\n")
    with pytest.raises(AssertionError, match="begins otherwise: a c"):
        assert_printed("a\nc\n", "a\nb\nc\n")
    assert steps(
        "```bash\npip install . && x\n```\n```bash\nx a \\\n  b\n```\n```text\nc\n```"
    ) == [Step(("x a b",), "c\n")]
