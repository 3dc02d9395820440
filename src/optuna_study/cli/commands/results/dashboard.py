"""`optuna-study dashboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import artifacts_option, example, storage_option, store_address

if TYPE_CHECKING:
    from optuna_study.paths import Workspace
    from optuna_study.store.engine.address import StoreAddress


@click.command(epilog=example("optuna-study dashboard", "optuna-study dashboard --port 9000"))
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@storage_option
@artifacts_option
def command(port: int, host: str, storage: StoreAddress | None, workspace: Workspace) -> None:
    """Serve optuna-dashboard on the store, with this project's notes and pictures.

    Prints its address when it listens; Ctrl-C or SIGTERM ends it.
    """
    from optuna_study.cli.serving import address, is_loopback, serve, serve_until_told
    from optuna_study.store.engine.open import open_store

    server = serve(open_store(store_address(storage, workspace)), workspace, host, port)
    if not is_loopback(host):
        click.echo(
            f"Warning: {host} is open to other machines, and the dashboard asks for no password: "
            "whoever reaches it can change and delete studies.",
            err=True,
        )
    click.echo(address(server))
    serve_until_told(server)
