"""Builds what a command works with from its options: configuration, engine, client, tunnel."""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import typer

from macnet import host
from macnet.cli.output import Output
from macnet.clients import get_client
from macnet.config import Config, explain, load_config, plain_options
from macnet.config_file import REMAP, ConfigFile, RemapTable, read_config_file
from macnet.contexts import EngineAddress, resolve_engine
from macnet.engine import Engine, connect_engine
from macnet.errors import EngineError, MacnetError, UnknownContext
from macnet.paths import Paths
from macnet.runner import SystemRunner
from macnet.state import load_state
from macnet.tunnel import Setting, Status, Surroundings, Tunnel, report_status

DEFAULT_TUNNEL = "macnet"
#: The first two choose the tunnel whose options are remembered; remaps stand in config.toml.
_NOT_REMEMBERED = frozenset({"context", "name", "remap"})


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command."""

    output: Output
    config: Config
    tunnel: Tunnel
    settings: tuple[Setting, ...]

    def address(self) -> EngineAddress:
        """Where the engine is. Raises `macnet.errors.MacnetError`."""
        return engine_address(self.config)

    def status(self, *, one_of_many: bool = False) -> Status:
        """The state of everything, also while the engine is away.

        Among many tunnels that of a context which is gone is told like one without an engine.
        """
        engine, url, source = None, "", ""
        error: MacnetError | None = None
        try:
            address = self.address()
            url, source = address.url, address.source
            engine = self.tunnel.engine
        except (EngineError, UnknownContext) as caught:
            if isinstance(caught, UnknownContext) and not one_of_many:
                raise
            error = caught
        tunnel = self.tunnel
        return report_status(
            engine=engine,
            engine_error=error,
            engine_url=url,
            engine_source=source,
            config=self.config,
            paths=tunnel.paths,
            client=tunnel.client,
            client_reason=tunnel.client_reason,
            around=tunnel.around,
            progress=self.output,
            settings=self.settings,
        )


def engine_address(config: Config) -> EngineAddress:
    """Resolve the engine of a configuration."""
    return resolve_engine(config.context, os.environ, Path.home())


def tunnel_name(context: str | None) -> str:
    """Each Docker context that is named has a tunnel of its own, called like it."""
    return DEFAULT_TUNNEL if context is None else context.replace("+", "-")[:40]


def open_sessions(run: typer.Context) -> list[Session]:
    """The tunnel of the settings, and every other one that has files here."""
    first = open_session(run)
    output = first.output
    paths = Paths.default()
    folder = paths.state / "tunnels"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    contexts = {
        name: load_state(paths.tunnel(name).state, output).context
        for name in names
        if name != first.config.name
    }
    return [
        first,
        *(
            open_session(run, context=context or name if name != DEFAULT_TUNNEL else None)
            for name, context in contexts.items()
        ),
    ]


def open_session(run: typer.Context, /, **flags: object) -> Session:
    """Load the configuration with ``flags`` on top and prepare, but touch nothing yet."""
    output = run.find_root().ensure_object(Output)
    paths = Paths.default()
    file = read_config_file(paths.config_file)
    # Whose remembered options count depends on the context, which is itself a setting.
    name = tunnel_name(load_config(file, os.environ, {}, flags).context)
    flags = {**flags, "name": name}
    files = paths.tunnel(name)
    remembered = load_state(files.state, output).options
    arguments = (file, os.environ, remembered, flags)
    config = load_config(*arguments)
    sources = explain(*arguments)
    runner = SystemRunner()
    system = host.system()
    client, why = get_client(
        config.client,
        paths=files,
        runner=runner,
        system=system,
        root=host.is_root(),
        user=getpass.getuser(),
    )

    def open_engine() -> Engine:
        return connect_engine(engine_address(config))

    tunnel = Tunnel(
        config=config,
        paths=files,
        open_engine=open_engine,
        client=client,
        client_reason=why,
        around=Surroundings(runner=runner, system=system),
        progress=output,
        options={
            **remembered,
            **{k: v for k, v in plain_options(flags).items() if k not in _NOT_REMEMBERED},
        },
        remaps=RemapTable(file.path, name, _remap_wish(file, config, flags)),
    )
    return Session(output, config, tunnel, tuple(_settings(config, sources)))


def _remap_wish(file: ConfigFile, config: Config, flags: Mapping[str, object]) -> object:
    """What the tunnel's table is to say: of ``flags``, where they ask for or end remaps."""
    if "remap" not in plain_options(flags):
        return file.table(config.name).get(REMAP)
    for_all = REMAP in file.settings or os.environ.get("MACNET_REMAP")
    # An empty list is needed only against what holds for every tunnel.
    return list(config.remap.words) if config.remap.words or for_all else None


def _settings(config: Config, sources: dict[str, str]) -> list[Setting]:
    def words(value: object) -> str:
        if isinstance(value, tuple):
            return " ".join(map(str, value))
        return "" if value is None else str(value)

    return [
        Setting(item.name, words(getattr(config, item.name)), sources[item.name])
        for item in fields(config)
        if item.name != "name"
    ]
