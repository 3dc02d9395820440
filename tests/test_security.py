"""Nothing that came from a store or a file is executed, leaves its folder, or shows a password."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from sqlalchemy import text, update
from sqlalchemy.engine import make_url

from optuna_study.cli.main import run
from optuna_study.paths import ARTIFACTS_VARIABLE, Workspace
from optuna_study.store.engine.open import open_store
from optuna_study.store.schema import UUID_KEY, own_studies, own_trials, study_system_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[1] / "src/optuna_study"
EXECUTES = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "code"}
# Modules that may be imported by a computed name, and what the name comes from.
COMPUTED_IMPORTS = {
    "__init__.py": "its own table of what the Python interface has",
    "cli/main.py": "the files of cli/commands",
    "store/rows.py": "the two dialects of SQLAlchemy",
    "training/build_model.py": "the files of training/models",
    "training/__init__.py": "its own table of moved modules",
    "config/catalogue.py": "package.module:function of a study file, which is its user's code",
}


def dangers(tree: ast.AST) -> Iterator[str]:
    """What in a module could execute what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _dangers_of_call(node)
        elif isinstance(node, ast.ImportFrom) and node.module in UNPICKLES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in UNPICKLES:
            found = ast.unparse(node)
            yield from [found] if found != "pickle.UnpicklingError" else []  # torch.load raises it


def _dangers_of_call(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {each.arg: ast.unparse(each.value) for each in call.keywords}
    if isinstance(call.func, ast.Name) and name in EXECUTES:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if name.endswith((".load", ".loads")) and given.get("allow_pickle", "False") != "False":
        yield "allow_pickle"
    if name.startswith("yaml.") and "load" in name and name != "yaml.safe_load":
        yield name
    if name in ("os.system", "os.popen") or given.get("shell", "False") != "False":
        yield "a shell"
    if name.endswith(("read_pickle", "torch.jit.load", "add_safe_globals")):
        yield name
    is_import = name.endswith("import_module")
    if is_import and not (call.args and isinstance(call.args[0], ast.Constant)):
        yield "a computed import"


@pytest.mark.slow
def test_nothing_that_is_read_can_be_executed() -> None:
    found = {}
    for path in SOURCE.rglob("*.py"):
        if in_module := list(dangers(ast.parse(path.read_text(encoding="utf-8")))):
            found[path.relative_to(SOURCE).as_posix()] = in_module
    assert found == {module: ["a computed import"] for module in COMPUTED_IMPORTS}


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=safe)",
        "pickle.load(file)",
        "pickle.Unpickler(file).load()",
        "from pickle import loads",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader)",
        "eval(stored)",
        "exec(stored)",
        "subprocess.run(stored, shell=True)",
        "os.system(stored)",
        "pandas.read_pickle(path)",
        "importlib.import_module(stored)",
        "import_module(f'{stored}')",
    ],
)
def test_the_walk_finds(line: str) -> None:
    assert len(list(dangers(ast.parse(line)))) == 1


@pytest.mark.parametrize("uuid", ["../../outside", "/tmp/outside", "..", "a/b", "x" * 300, "a\nb"])
def test_a_uuid_of_a_hostile_store_leads_nowhere(
    uuid: str, stored_study: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored_study.run([0.5])
    stored_study.start([0.5])
    with stored_study.store.write() as connection:
        for table in (own_studies, own_trials):
            connection.execute(update(table).values(uuid=uuid))
        connection.execute(
            update(study_system_attributes)
            .where(study_system_attributes.c.key == UUID_KEY)
            .values(value_json=f'"{uuid}"')
        )
    places = tmp_path / "deep/er/storage"
    before = set(tmp_path.rglob("*"))
    options = ("--storage", stored_study.url, "--artifacts", str(places))
    to = f"sqlite:///{tmp_path / 'small.db'}"
    for command in (
        ("show", "small", "--trial", "0"),
        ("doctor", "small"),
        ("copy", "small", "--to", to, "--name", "second"),
        ("delete", "small", "--yes"),
    ):
        assert run([*command, *options]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "cannot be the name of a file" in said
    assert set(tmp_path.rglob("*")) - before <= {places, *places.parents}


STUDY = """
[data]
name = "digits"
image_size = 16
subset = 0.2
[model]
name = "alexnet"
variant = "single_tower"
width = 0.05
[train]
epochs = 2
batch_size = 64
threads = 1
[search]
trials = 2
confirm = {top = 1, seeds = 1}
[space]
lr = {low = 1e-4, high = 0.01, log = true}
"""
PASSWORD, KEY = "hunter2 &p@ss:w{rd%", "hunter3+k/y"


@pytest.mark.postgres
@pytest.mark.slow
def test_a_password_is_nowhere_to_be_seen(
    postgres_url: str,
    digits_workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither in what a launch and its workers say, write and store, nor in `ps`."""
    url = make_url(postgres_url).set(password=PASSWORD).update_query_dict({"sslpassword": KEY})
    given = url.render_as_string(hide_password=False)
    spellings = {PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), KEY, quote(KEY, safe="")}
    assert any(spelling in given for spelling in spellings)
    (tmp_path / "tiny.toml").write_text(STUDY)
    places = Workspace(shutil.copytree(digits_workspace.root, tmp_path / "storage"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPTUNA_STORAGE", given)
    monkeypatch.setenv(ARTIFACTS_VARIABLE, str(places.root))
    options = ("--profile", "cpu", "--workers", "2", "-v", "--debug")
    launch = subprocess.Popen(
        [sys.executable, "-m", "optuna_study", "launch", "tiny.toml", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    arguments = _Arguments(launch.pid)
    said, _ = launch.communicate(timeout=200)
    seen = [said, *arguments.stop()]
    assert launch.returncode == 0, said.decode()
    assert b"tiny@cpu" in said
    assert len(seen) > 3, "neither launch nor workers were seen"
    for command in (("show", "tiny", "--trial", "0"), ("doctor", "tiny"), ("export", "tiny")):
        capfd.readouterr()
        code, printed = run(command), capfd.readouterr()
        assert code in (0, 1), printed.err  # the doctor may find something
        seen += [printed.out.encode(), printed.err.encode()]
    seen += [path.read_bytes() for path in places.root.rglob("*") if path.is_file()]
    store = open_store(given)
    with store.read() as connection:
        tables = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        for table in list(tables):
            rows = connection.execute(text(f"SELECT row_to_json(t)::text FROM {table} t"))
            seen += [row.encode() for row in rows.scalars()]
    store.close()
    assert len(seen) > 30
    for spelling in spellings:
        assert not any(spelling.encode() in each for each in seen), spelling


class _Arguments:
    """Looks again and again at the arguments of every process of a session."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._found: set[bytes] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getsid(int(folder.name)) == self._session:
                        self._found.add((folder / "cmdline").read_bytes())
                except OSError:
                    continue  # it has just ended

    def stop(self) -> set[bytes]:
        self._over.set()
        self._thread.join()
        return self._found
