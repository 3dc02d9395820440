"""The dashboard as a process, and as a person sees it in a browser."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from optuna_study.cli import serving
from optuna_study.cli.guard import COOKIE
from optuna_study.cli.serving import is_loopback, listening
from optuna_study.errors import UsageError
from optuna_study.paths import Workspace
from optuna_study.store.engine.optuna_bridge import optuna_storage
from optuna_study.store.queue import queue
from optuna_study.store.records import End, EndKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHROMIUM = os.environ.get("OPTUNA_STUDY_TEST_CHROMIUM") or shutil.which("chromium")
DRIVER = os.environ.get("OPTUNA_STUDY_TEST_CHROMEDRIVER") or shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,2200",
)


@dataclass
class Dashboard:
    """A dashboard that listens."""

    address: str
    process: subprocess.Popen[str]

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """The status of a request, and what it says."""
        url = self.address.partition("?")[0].rstrip("/") + path
        request = urllib.request.Request(url, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(self.address.rstrip("/") + path, timeout=30) as answer:
            body: bytes = answer.read()
            return body.decode()


@contextmanager
def running(*arguments: str, folder: Path, environment: dict[str, str]) -> Iterator[Dashboard]:
    """Start the dashboard and wait for its address; it is gone when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "optuna_study", "dashboard", "--port", "0", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A script's background job ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        yield Dashboard(process.stdout.readline().strip(), process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def shown(stored_study: Any, tmp_path: Path) -> Any:
    """The small study with one ended trial that has two pictures and a note, and a study note."""
    from optuna_dashboard import save_note
    from PIL import Image

    from optuna_study.artifacts.upload import write_files

    picture = io.BytesIO()
    Image.new("RGB", (120, 80), (40, 90, 160)).save(picture, format="png")
    storage = optuna_storage(stored_study.store)
    claim = stored_study.start([0.25, 0.5, 0.75])
    pictures = {name: picture.getvalue() for name in ("curve.png", "confusion.png")}
    artifacts = write_files(Workspace(tmp_path / "storage"), claim, pictures)
    end = End(EndKind.COMPLETED, "all 3 epochs", 0.75, artifacts=tuple(artifacts))
    queue.end(stored_study.store, claim, end)
    import optuna

    study = optuna.load_study(study_name="small", storage=storage)
    save_note(study, "# What this study found")
    save_note(optuna.Trial(study, study.trials[0]._trial_id), "# Why trial zero ended")
    return stored_study


@pytest.mark.slow
def test_it_prints_its_address_alone_only_shows_the_study_and_ends_on_ctrl_c(
    shown: Any, tmp_path: Path
) -> None:
    with running(folder=tmp_path, environment={"OPTUNA_STORAGE": shown.url}) as dashboard:
        assert dashboard.address.startswith("http://127.0.0.1:")
        the_store_url_stands_in_no_argument(shown.url, dashboard.process.pid)
        assert '"study_name": "small"' in dashboard.get("/api/studies")
        assert "What this study found" in dashboard.get("/api/studies/1")
        it_only_shows_and_answers_to_its_own_name(dashboard)
        dashboard.process.send_signal(signal.SIGINT)
        out, err = dashboard.process.communicate(timeout=30)
    assert out == ""
    assert dashboard.process.returncode == 130
    assert "Traceback" not in err
    assert err.strip() == "Interrupted."


def the_store_url_stands_in_no_argument(url: str, pid: int) -> None:
    processes = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout
    own = [line for line in processes.splitlines() if str(pid) in line.split()[:2]]
    assert own
    assert not any(url in line for line in own)


def it_only_shows_and_answers_to_its_own_name(dashboard: Dashboard) -> None:
    code, said = dashboard.ask("DELETE", "/api/studies/1")
    assert code == 403
    assert "start it with --allow-write" in said
    code, said = dashboard.ask("GET", "/api/studies", Host="evil.example")
    assert code == 403
    assert "'evil.example' is not a name of this dashboard" in said
    code, _ = dashboard.ask("GET", "/api/studies", Origin="http://evil.example")
    assert code == 403
    assert '"study_name": "small"' in dashboard.get("/api/studies")


def the_printed_token_lets_its_owner_change_studies(dashboard: Dashboard) -> None:
    token = dashboard.address.partition("?token=")[2]
    assert dashboard.ask("DELETE", "/api/studies/1")[0] == 403
    assert dashboard.ask("DELETE", "/api/studies/1", Cookie=f"{COOKIE}={token}")[0] == 204
    assert '"study_name": "small"' not in dashboard.ask("GET", "/api/studies")[1]


@pytest.mark.slow
def test_its_owner_may_write_and_it_ends_on_sigterm_even_where_that_was_ignored(
    shown: Any, tmp_path: Path
) -> None:
    environment = {"OPTUNA_STORAGE": shown.url}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as of a container's first process
    try:
        with running("--allow-write", folder=tmp_path, environment=environment) as dashboard:
            assert '"study_name": "small"' in dashboard.ask("GET", "/api/studies")[1]
            the_printed_token_lets_its_owner_change_studies(dashboard)
            dashboard.process.terminate()
            _, err = dashboard.process.communicate(timeout=30)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert dashboard.process.returncode == 143
    assert err == ""


@pytest.mark.slow
def test_it_warns_when_other_machines_can_reach_it(
    shown: Any, cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "serve_until_told", lambda server: server.server_close())
    result = cli("dashboard", "--host", "0.0.0.0", "--port", "0", "--storage", shown.url)
    assert result.code == 0
    warning = "Warning: 0.0.0.0 is open to other machines, and the dashboard asks "
    assert result.err.startswith(warning)


def test_a_port_in_use_is_one_line() -> None:
    refused = pytest.raises(UsageError, match=r"cannot listen there \(Address already in use\)")
    with listening(lambda *_: [], "127.0.0.1", 0) as server, refused:
        listening(lambda *_: [], "127.0.0.1", server.server_port)


def test_a_host_that_is_not_here_is_one_line() -> None:
    with pytest.raises(UsageError, match="choose another --port or --host"):
        listening(lambda *_: [], "no-such-host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::1", True), ("127.9.9.9", True), ("::", False), ("example.org", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_no_store_is_made(cli: Callable[..., Any], tmp_path: Path) -> None:
    result = cli("dashboard", "--storage", "sqlite:///missing.db")
    assert result.code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser; it takes 4 CPU s to start."""
    if not CHROMIUM or not DRIVER:
        pytest.skip("no browser: chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def drawn(browser: Any) -> int:
    """How many figures of the page are drawn."""
    counted = "return document.querySelectorAll('.plot > .plot-container').length"
    return int(browser.execute_script(counted))


@pytest.mark.browser
@pytest.mark.slow
def test_a_browser_draws_every_figure_of_a_report_and_asks_for_nothing_else(
    shown: Any, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    from optuna_study.api.study import load

    page = tmp_path / "report.html"
    text = load("small", shown.url).report(page)
    figures = text.count('<div class="plot')
    assert figures >= 4
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(lambda _: drawn(browser) == figures)
    asked = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert asked == 0


@pytest.mark.browser
@pytest.mark.slow
def test_study_and_trial_pages_show_notes_and_pictures(
    shown: Any, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    def text() -> str:
        body: str = browser.execute_script("return document.body.innerText")
        return body

    def loaded_pictures() -> int:
        count: int = browser.execute_script(
            "return [...document.images].filter("
            "image => image.naturalWidth > 0 && image.src.includes('/artifacts/')).length"
        )
        return count

    waiting = WebDriverWait(browser, 60)
    environment = {"OPTUNA_STORAGE": shown.url}
    with running(folder=tmp_path, environment=environment) as dashboard:
        browser.get(f"{dashboard.address}dashboard/studies/1")
        waiting.until(lambda _: "small" in text() and "Hyperparameter" in text())
        waiting.until(lambda _: "How trials ended" in browser.page_source)
        browser.get(f"{dashboard.address}dashboard/studies/1/note")
        waiting.until(lambda _: "What this study found" in text())
        browser.get(f"{dashboard.address}dashboard/studies/1/trials?numbers=0")
        waiting.until(lambda _: "Why trial zero ended" in text() and "all 3 epochs" in text())
        waiting.until(lambda _: loaded_pictures() == 2)
        shot = os.environ.get("OPTUNA_STUDY_TEST_SCREENSHOT")
        if shot:
            browser.save_screenshot(shot)
        browser.get(f"{dashboard.address}figures/1/0")
        figures = browser.execute_script("return document.querySelectorAll('.plot').length")
        assert figures >= 1
        waiting.until(lambda _: drawn(browser) == figures)
