"""The options that several commands share. Values are judged by `macnet.config`, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import typer

from macnet.cli.output import Output

#: How every Typer app of macnet behaves.
SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # plain help: it loads twice as fast
    "pretty_exceptions_enable": False,  # they show local variables, which may be keys
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def _json(context: typer.Context, wanted: bool) -> bool:
    # Remembered before the command runs: an error about another option is JSON too.
    context.find_root().ensure_object(Output).json |= wanted
    return wanted


def _verbose(context: typer.Context, wanted: bool) -> bool:
    context.find_root().ensure_object(Output).verbose |= wanted
    return wanted


def _complete_context(incomplete: str) -> list[str]:
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from macnet.contexts import list_contexts  # noqa: PLC0415

    return [n for n in list_contexts(os.environ, Path.home()) if n.startswith(incomplete)]


def complete_containers(incomplete: str) -> list[str]:
    """Names of running containers; nothing where the engine does not answer."""
    return _complete(lambda row: [str(row["Names"][0]).lstrip("/")], incomplete)


def complete_networks(incomplete: str) -> list[str]:
    """Names of networks that have running containers."""
    return _complete(lambda row: list(row["NetworkSettings"]["Networks"]), incomplete)


def _complete(names: Callable[[Mapping[str, Any]], list[str]], incomplete: str) -> list[str]:
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from macnet.contexts import resolve_engine  # noqa: PLC0415
    from macnet.engine import connect_engine  # noqa: PLC0415
    from macnet.errors import MacnetError  # noqa: PLC0415

    try:
        engine = connect_engine(resolve_engine(None, os.environ, Path.home()))
        found = {name for row in engine.containers() for name in names(row)}
    except MacnetError:
        return []  # a shell that waits for words has no place for an error
    return sorted(name for name in found if name.startswith(incomplete))


Json = Annotated[
    bool,
    typer.Option("--json", callback=_json, is_eager=True, help="Print one JSON object."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", callback=_verbose, is_eager=True, help="Tell more."),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="NAME",
        autocompletion=_complete_context,
        help="Docker context of the engine.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Every tunnel, of every context.")]
Port = Annotated[
    int | None,
    typer.Option(
        "--port",
        metavar="PORT",
        help="TCP port on 127.0.0.1 for the tunnel; 0 is automatic (13194, or the next free one).",
    ),
]
TunnelSubnet = Annotated[
    str | None,
    typer.Option(
        "--tunnel-subnet",
        metavar="CIDR",
        help="The tunnel's own addresses (192.168.255.0/24, or a free one).",
    ),
]
TunMtu = Annotated[
    int | None,
    typer.Option("--tun-mtu", metavar="BYTES", help="MTU of the tunnel (16000)."),
]
CompLzo = Annotated[
    Literal["no", "yes", "adaptive", "off"] | None,
    typer.Option(
        "--comp-lzo",
        help="The comp-lzo line on both ends; off leaves it out (no).",
    ),
]
Networks = Annotated[
    list[str] | None,
    typer.Option(
        "--network",
        metavar="GLOB",
        autocompletion=complete_networks,
        help="Route only networks of this name; may be repeated (all).",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        autocompletion=complete_networks,
        help="Leave networks of this name out; may be repeated.",
    ),
]
BaseImage = Annotated[
    str | None,
    typer.Option("--base-image", metavar="IMAGE", help="Image to build the helper from."),
]
Client = Annotated[
    Literal["auto", "tunnelblick", "openvpn", "none"] | None,
    typer.Option("--client", help="VPN client; none leaves the profile to you (auto)."),
]
Routes = Annotated[
    Literal["exact", "pools"] | None,
    typer.Option(
        "--routes",
        help="Route each subnet, or the engine's whole address pools (exact).",
    ),
]
Remap = Annotated[
    list[str] | None,
    typer.Option(
        "--remap",
        metavar="SUBNET=SUBNET|auto",
        help="Reach a Docker subnet under another one; auto: where it collides.",
    ),
]
