"""The options that several commands share, and how help looks.

`macnet.values` judges what is given.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from macnet import choices
from macnet.cli.output import Output

#: How every Typer app of macnet behaves.
SETTINGS: dict[str, Any] = {
    "rich_markup_mode": None,  # plain help: with rich it takes 1.6 times as long
    "pretty_exceptions_enable": False,  # they show local variables, which may be keys
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Verb(TyperCommand):
    """A command whose help shows arguments by their metavar, without Python's types."""

    def rows(self, ctx: Any, kind: str) -> list[tuple[str, str]]:
        """What the help says of each ``argument`` or ``option``."""
        found = []
        params: list[Any] = self.get_params(ctx)
        for param in params:
            record = param.get_help_record(ctx)
            if record is not None and param.param_type_name == kind:
                name = getattr(param, "display_name_raw", record[0])
                name = name if kind == "argument" else record[0]
                found.append((name, re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", record[1])))
        return found

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments and the options."""
        for kind in ("argument", "option"):
            if rows := self.rows(ctx, kind):
                with formatter.section(f"{kind.capitalize()}s"):
                    formatter.write_dl(rows)


def examples(*lines: str) -> str:
    """The end of a command's help: lines that may be typed, kept as they are."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def show_help(context: typer.Context) -> None:
    """What a group without a command does: it shows its help, as wrong usage."""
    typer.echo(context.get_help(), err=True)
    raise typer.Exit(2)


def _json(context: typer.Context, wanted: bool) -> bool:
    # Remembered before the command runs: an error about another option is JSON too.
    context.find_root().ensure_object(Output).json |= wanted
    return wanted


def _verbose(context: typer.Context, wanted: bool) -> bool:
    context.find_root().ensure_object(Output).verbose |= wanted
    return wanted


def _complete_context(incomplete: str) -> list[str]:
    import os
    from pathlib import Path

    from macnet.contexts import list_contexts

    return [n for n in list_contexts(os.environ, Path.home()) if n.startswith(incomplete)]


def complete_targets(incomplete: str) -> list[str]:
    """Names of running containers and services, and of labels; nothing without the engine.

    After a dot also those below networks, and all of them with the tunnel's domain while names
    are on.
    """
    from macnet.names.claims import Kind, list_claims, why_refused
    from macnet.networks import container_names

    dotted = "." in incomplete
    domain = _names_domain() if dotted else None

    def names(row: Mapping[str, Any]) -> Iterator[str]:
        yield container_names(row)[0]
        for claim in list_claims((), [row], {}):
            if claim.name.startswith("*.") or why_refused(claim.name, claim.kind, "test"):
                continue
            if dotted or claim.kind is not Kind.NETWORK:
                yield claim.name
            if domain is not None:
                yield f"{claim.name}.{domain}"

    return _complete(names, incomplete)


def _names_domain() -> str | None:
    """The domain of the names of the present context's tunnel, while they are on."""
    import os

    from macnet.config_file import read_config_file
    from macnet.errors import MacnetError
    from macnet.paths import Paths
    from macnet.progress import Silent
    from macnet.settings import resolve_context
    from macnet.state import find_tunnel_name, load_state

    paths = Paths.default()
    try:
        context, _ = resolve_context(read_config_file(paths.config_file), os.environ, None)
        record = paths.tunnel(find_tunnel_name(context, paths)).state
        choice = load_state(record, Silent()).names
    except MacnetError:
        return None
    return choice.domain if choice is not None else None


def complete_domains(incomplete: str) -> list[str]:
    """Domains that may be taken: one reserved for tests, and one below a real top level."""
    return [name for name in ("docker.test", "docker.home.arpa") if name.startswith(incomplete)]


def complete_networks(incomplete: str) -> list[str]:
    """Names of networks that have running containers."""
    return _complete(lambda row: list(row["NetworkSettings"]["Networks"]), incomplete)


def _complete(names: Callable[[Mapping[str, Any]], Iterable[str]], incomplete: str) -> list[str]:
    import os
    from pathlib import Path

    from macnet.contexts import resolve_engine
    from macnet.engine import connect_engine
    from macnet.errors import MacnetError

    try:
        engine = connect_engine(resolve_engine(None, os.environ, Path.home()))
        found = {name for row in engine.containers() for name in names(row)}
    except MacnetError:
        return []  # a shell that waits for words has no place for an error
    return sorted(name for name in found if name.startswith(incomplete))


Json = Annotated[
    bool,
    typer.Option("--json", callback=_json, is_eager=True, help="Print JSON instead of text."),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", callback=_verbose, is_eager=True, help="Print more detail."),
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
        help="TCP port on 127.0.0.1 for the tunnel; 0 chooses one.  "
        "[default: 13194, or the next free one]",
    ),
]
TunnelSubnet = Annotated[
    str | None,
    typer.Option(
        "--tunnel-subnet",
        metavar="CIDR",
        help="The tunnel's own addresses.  [default: 192.168.255.0/24, or a free subnet]",
    ),
]
TunMtu = Annotated[
    int | None,
    typer.Option("--tun-mtu", metavar="BYTES", help="MTU of the tunnel.  [default: 65000]"),
]
CompLzo = Annotated[
    choices.CompLzo | None,
    typer.Option(
        "--comp-lzo",
        metavar="|".join(choices.CompLzo),
        help="comp-lzo directive for server and client; off omits it.  [default: no]",
    ),
]


def _filter(option: str, help_text: str) -> Any:
    return typer.Option(option, metavar="GLOB", autocompletion=complete_networks, help=help_text)


Networks = Annotated[
    list[str] | None,
    _filter("--network", "Route only networks of this name; may be repeated.  [default: all]"),
]
Exclude = Annotated[
    list[str] | None,
    _filter("--exclude", "Do not route networks of this name; may be repeated."),
]
ShownNetworks = Annotated[
    list[str] | None,
    _filter(
        "--network",
        "Show what setup would route with this filter; may be repeated.  "
        "[default: as the last setup]",
    ),
]
ShownExclude = Annotated[
    list[str] | None,
    _filter("--exclude", "Show what setup would leave out with this filter; may be repeated."),
]
BaseImage = Annotated[
    str | None,
    typer.Option("--base-image", metavar="IMAGE", help="Image to build the helper from."),
]
Client = Annotated[
    choices.ClientChoice | None,
    typer.Option(
        "--client",
        metavar="|".join(choices.ClientChoice),
        help="VPN client; none leaves the profile to you.  [default: auto]",
    ),
]
Routes = Annotated[
    choices.RoutesChoice | None,
    typer.Option(
        "--routes",
        metavar="|".join(choices.RoutesChoice),
        help="Route each subnet, or the engine's whole address pools.  [default: exact]",
    ),
]
Remap = Annotated[
    list[str] | None,
    typer.Option(
        "--remap",
        metavar="SUBNET=SUBNET|auto",
        help="Reach a Docker subnet under another one; auto does it where subnets collide.",
    ),
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="WHAT",
        help="Reach more than bridges: overlays, kubernetes, kubernetes=NAME, CIDR=CONTAINER, "
        "CIDR; may be repeated.",
    ),
]
Expose = Annotated[
    list[str] | None,
    typer.Option(
        "--expose",
        metavar="ADDRESS[:PORT]",
        help="Publish the tunnel's port on this address of another machine's engine (TLS).",
    ),
]
Domain = Annotated[
    str | None,
    typer.Option(
        "--domain",
        metavar="DOMAIN",
        autocompletion=complete_domains,
        help="What names end with.  [default: docker.test, or the one chosen before]",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        min=0.1,
        max=60,
        show_default=True,
        help="How long to wait for an answer.",
    ),
]
