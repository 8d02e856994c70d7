"""``macnet agent install | uninstall | status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from macnet.cli import options
from macnet.cli.options import examples

if TYPE_CHECKING:
    from pathlib import Path

    from macnet.agent import Agent, AgentStatus

app = typer.Typer(
    name="agent",
    help="Run `macnet watch` at login.",
    invoke_without_command=True,
    **options.SETTINGS,
)


@app.callback()
def agent(context: typer.Context) -> None:
    """Run `macnet watch` at login."""
    if context.invoked_subcommand is None:
        options.show_help(context)


@app.command(
    cls=options.Verb,
    epilog=examples("macnet agent install", "macnet agent install --context colima"),
)
def install(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Start `macnet watch` now and at each login.

    It follows the engine that macnet uses now.
    """
    import os
    from pathlib import Path

    from macnet.agent import guarded_folder, plan_job
    from macnet.cli.session import open_session
    from macnet.host import is_root, system
    from macnet.runner import SystemRunner

    session = open_session(context, context=docker_context)
    agent, log = _agent()
    job = plan_job(context=docker_context, log=log, environ=os.environ, runner=SystemRunner())
    if system() == "macos" and (folder := guarded_folder(job, Path.home())) is not None:
        session.output.warn(
            f"macOS does not let the agent read macnet in {folder}: install macnet elsewhere, for "
            "example with `pipx install`, and run this again"
        )
    changed = agent.install(job)
    if session.tunnel.client.name == "openvpn" and not is_root():
        session.output.warn(
            "the agent cannot type sudo's password: it keeps the routes of a running openvpn "
            "right, but cannot start it"
        )
    now = agent.status(log)
    words = "installed" if changed else "was already installed"
    session.output.result(
        "agent", {"changed": changed, "status": now}, [f"the agent {words}", *_lines(now)]
    )


@app.command(
    cls=options.Verb, epilog=examples("macnet agent uninstall", "macnet agent uninstall --json")
)
def uninstall(
    context: typer.Context,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Stop the agent and remove it from login."""
    from macnet.cli.output import Output

    agent, log = _agent()
    changed = agent.uninstall()
    words = "the agent is removed" if changed else "there was no agent"
    context.find_root().ensure_object(Output).result(
        "agent", {"changed": changed, "status": agent.status(log)}, [words]
    )


@app.command(cls=options.Verb, epilog=examples("macnet agent status", "macnet agent status --json"))
def status(
    context: typer.Context,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Show whether the agent runs and starts at login."""
    from macnet.cli.output import Output

    agent, log = _agent()
    now = agent.status(log)
    context.find_root().ensure_object(Output).result(
        "agent", {"changed": False, "status": now}, _lines(now)
    )


def _agent() -> tuple[Agent, Path]:
    """This system's agent, and where its log is."""
    import os
    from pathlib import Path

    from macnet import host
    from macnet.agent import get_agent
    from macnet.paths import Paths
    from macnet.runner import SystemRunner

    agent = get_agent(host.system(), SystemRunner(), Path.home(), os.geteuid(), os.environ)
    return agent, Paths.default().watch_log


def _lines(now: AgentStatus) -> list[str]:
    if not now.installed and not now.loaded:
        return ["not installed"]
    runs = f"runs (pid {now.pid})" if now.pid is not None else "does not run"
    starts = "starts at login" if now.loaded else "is not loaded"
    return [f"it {runs} and {starts}", f"file  {now.file}", f"log   {now.log}"]
