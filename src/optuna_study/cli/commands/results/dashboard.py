"""`optuna-study dashboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import example
from optuna_study.cli.target import store_target

if TYPE_CHECKING:
    from optuna_study.cli.target import Target


@click.command(epilog=example("optuna-study dashboard", "optuna-study dashboard --port 9000"))
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@store_target
def command(target: Target, port: int, host: str) -> None:
    """Serve optuna-dashboard on the store, with this project's notes and pictures.

    Prints its address when it listens; Ctrl-C or SIGTERM ends it.
    """
    from optuna_study.cli.serving import address, is_loopback, serve, serve_until_told

    server = serve(target.open(), target.workspace, host, port)
    if not is_loopback(host):
        click.echo(
            f"Warning: {host} is open to other machines, and the dashboard asks for no password: "
            "whoever reaches it can change and delete studies.",
            err=True,
        )
    click.echo(address(server))
    serve_until_told(server)
