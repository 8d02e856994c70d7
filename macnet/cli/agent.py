"""``macnet agent install | uninstall | status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from macnet.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from macnet.agent import Agent, AgentStatus

app = typer.Typer(
    name="agent",
    help="Run `macnet watch` at login.",
    no_args_is_help=True,
    **options.SETTINGS,
)


@app.command()
def install(
    context: typer.Context,
    docker_context: options.Context = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Start `macnet watch` now and at each login, for the engine that macnet uses now."""
    import os  # noqa: PLC0415

    from macnet.agent import plan_job  # noqa: PLC0415
    from macnet.cli.session import open_session  # noqa: PLC0415
    from macnet.host import is_root  # noqa: PLC0415
    from macnet.runner import SystemRunner  # noqa: PLC0415

    session = open_session(context, context=docker_context)
    agent, log = _agent()
    job = plan_job(context=docker_context, log=log, environ=os.environ, runner=SystemRunner())
    changed = agent.install(job)
    if session.tunnel.client.name == "openvpn" and not is_root():
        session.output.warn(
            "the agent cannot type sudo's password: it keeps the routes of a running openvpn "
            "right, but cannot start it"
        )
    now = agent.status(log)
    words = "installed" if changed else "was installed already"
    session.output.result(
        "agent", {"changed": changed, "status": now}, [f"the agent {words}", *_lines(now)]
    )


@app.command()
def uninstall(
    context: typer.Context,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """End it, and do not start it at login any more."""
    from macnet.cli.output import Output  # noqa: PLC0415

    agent, log = _agent()
    changed = agent.uninstall()
    words = "the agent is removed" if changed else "there was no agent"
    context.find_root().ensure_object(Output).result(
        "agent", {"changed": changed, "status": agent.status(log)}, [words]
    )


@app.command()
def status(
    context: typer.Context,
    json: options.Json = False,
    verbose: options.Verbose = False,
) -> None:
    """Tell whether it runs."""
    from macnet.cli.output import Output  # noqa: PLC0415

    agent, log = _agent()
    now = agent.status(log)
    context.find_root().ensure_object(Output).result(
        "agent", {"changed": False, "status": now}, _lines(now)
    )


def _agent() -> tuple[Agent, Path]:
    """This system's agent, and where its log is."""
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from macnet import host  # noqa: PLC0415
    from macnet.agent import get_agent  # noqa: PLC0415
    from macnet.paths import Paths  # noqa: PLC0415
    from macnet.runner import SystemRunner  # noqa: PLC0415

    agent = get_agent(host.system(), SystemRunner(), Path.home(), os.geteuid(), os.environ)
    return agent, Paths.default().watch_log


def _lines(now: AgentStatus) -> list[str]:
    if not now.installed and not now.loaded:
        return ["not installed"]
    runs = f"runs (pid {now.pid})" if now.pid is not None else "does not run"
    starts = "starts at login" if now.loaded else "is not loaded"
    return [f"it {runs} and {starts}", f"file  {now.file}", f"log   {now.log}"]
