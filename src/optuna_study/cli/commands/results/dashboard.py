"""`optuna-study dashboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from optuna_study.cli.options import example, tell
from optuna_study.cli.target import store_target

if TYPE_CHECKING:
    from optuna_study.cli.target import Target


@click.command(
    epilog=example(
        "optuna-study dashboard",
        "optuna-study dashboard --allow-write",
        "optuna-study dashboard --host 0.0.0.0 --allowed-host gpu-server.example.org",
    )
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--allow-write",
    is_flag=True,
    help="Let whoever opens the address that is printed change and delete studies.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A name that browsers reach it by, besides addresses and localhost. Repeatable.",
)
@store_target
def command(
    target: Target, port: int, host: str, allowed_hosts: tuple[str, ...], *, allow_write: bool
) -> None:
    """Serve optuna-dashboard on the store, with this project's notes and figures.

    It only shows, unless started with --allow-write. Requests for another host name, or from
    another site's page, are refused. Prints its address when it listens; Ctrl-C or SIGTERM ends
    it. Beside it: /studies lists all studies, with --allow-write to pause, resume and stop them;
    /health says whether the store answers, /metrics is for Prometheus.
    """
    from functools import partial

    from optuna_study.cli.guard import Guard, new_token
    from optuna_study.cli.serving import address, is_loopback, serve, serve_until_told

    token = new_token() if allow_write else None
    guard = partial(Guard, hosts=frozenset({host, *allowed_hosts}), token=token)
    server = serve(target.open(), target.workspace, host, port, guard=guard)
    if not is_loopback(host):
        what = "see every study" if token is None else "see every study, with the token change it"
        tell(
            f"Warning: {host} is open to other machines, and the dashboard asks for no password: "
            f"whoever reaches it can {what}."
        )
    click.echo(address(server) + (f"?token={token}" if token else ""))
    serve_until_told(server)
