"""Puts together what a command works with: settings, engine, client, tunnel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import typer

from macnet import host
from macnet.carriers import Carrier, get_carrier
from macnet.choices import ClientChoice
from macnet.cli.output import Output
from macnet.clients import Client, get_client
from macnet.config_file import ConfigFile, read_config_file
from macnet.contexts import EngineAddress, resolve_engine
from macnet.engine import Engine, connect_engine
from macnet.errors import EngineError, MacnetError, UnknownContext
from macnet.paths import Paths, TunnelPaths
from macnet.runner import SystemRunner
from macnet.settings import (
    Resolved,
    chosen_remaps,
    forget,
    from_record,
    override,
    resolve,
    resolve_context,
)
from macnet.state import TunnelState, find_tunnel_name, load_state
from macnet.tunnel import EngineFound, Host, Status, Tunnel, report_status
from macnet.values import DEFAULT_TUNNEL, Pairs, exposed


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command."""

    output: Output
    tunnel: Tunnel

    def address(self) -> EngineAddress:
        """Where the engine is. Raises `macnet.errors.MacnetError`."""
        return engine_address(self.tunnel.settings.context)

    def status(self, *, one_of_many: bool = False) -> Status:
        """The state of everything, also while the engine is away.

        With ``one_of_many``, a tunnel whose Docker context was deleted is reported as one whose
        engine does not answer.
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
        return report_status(self.tunnel, EngineFound(engine, url, source, error))


def engine_address(context: str | None) -> EngineAddress:
    """Resolve the engine of a Docker context, or Docker's own choice."""
    return resolve_engine(context, os.environ, Path.home())


def open_session(run: typer.Context, *, context: str | None = None, **options: object) -> Session:
    """The tunnel with the settings that its setup stored, with ``options`` for this command.

    Before the first setup, the settings that it would have. Touches nothing yet.
    """
    output = run.find_root().ensure_object(Output)
    output.context = context
    return _find_place(output, context).open_stored(output, **options)


def open_setup(
    run: typer.Context,
    *,
    context: str | None,
    reset: bool,
    unset: Iterable[str],
    options: Mapping[str, object],
) -> Session:
    """The tunnel with settings resolved anew: what `macnet setup` makes and stores.

    ``reset`` forgets all options of earlier setups and the ranges that "auto" chose, ``unset``
    single options.
    """
    output = run.find_root().ensure_object(Output)
    output.context = context
    place = _find_place(output, context)
    remembered = {} if reset else forget(place.state.options, unset)
    chosen = () if reset else place.chosen()
    session = place.open(output, place.resolve(remembered, options), chosen=chosen)
    if kept := session.tunnel.resolved.remembered:
        output.note(f"remembered: {', '.join(kept)}")
    return session


def open_sessions(run: typer.Context) -> list[Session]:
    """The tunnel of the present context, and every other one that has files here."""
    first = open_session(run)
    folder = Paths.default().state / "tunnels"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    others = [
        _recorded_place(first.output, name).open_stored(first.output)
        for name in names
        if name != first.tunnel.settings.name
    ]
    return [first, *others]


@dataclass(frozen=True, slots=True)
class _Place:
    """A tunnel's name, files and record, and the sources of its settings."""

    name: str
    context: str | None
    source: str
    file: ConfigFile
    paths: TunnelPaths
    state: TunnelState

    def resolve(self, remembered: Mapping[str, object], options: Mapping[str, object]) -> Resolved:
        return resolve(
            self.file, os.environ, remembered, options, context=self.context, name=self.name
        )

    def chosen(self) -> Pairs:
        """The ranges that "auto" chose; macnet 0.1 wrote them into config.toml."""
        if self.state.remaps is not None:
            return self.state.remaps
        return chosen_remaps(self.file, self.name)

    def open_stored(self, output: Output, **options: object) -> Session:
        """With the settings that setup stored, before the first one those that it would have."""
        if self.state.settings is not None:
            resolved = from_record(
                self.state.settings, self.state.options, context=self.context, name=self.name
            )
        else:
            resolved = self.resolve(self.state.options, {})
        return self.open(
            output, override(resolved, options), chosen=self.chosen(), recorded=self.state.client
        )

    def open(
        self, output: Output, resolved: Resolved, *, chosen: Pairs, recorded: str | None = None
    ) -> Session:
        """``recorded`` is the client that "auto" stands for since the last setup."""
        runner, system = SystemRunner(), host.system()
        clients = partial(
            get_client,
            paths=self.paths,
            runner=runner,
            system=system,
            root=host.is_root(),
            user=host.user_name(),
        )
        client, why = clients(resolved.settings.client)
        if resolved.settings.client is ClientChoice.AUTO and recorded not in {None, client.name}:
            # Another one that was installed meanwhile is the next setup's to switch to.
            client, why = clients(recorded)[0], "by the last setup"

        def make_client(name: str) -> Client:
            return clients(name)[0]

        @cache
        def find_carrier() -> Carrier:
            words = resolved.settings.expose
            return get_carrier(
                engine_address(self.context),
                expose=exposed(words)[0] if words else None,
                folder=self.paths.carrier,
                runner=runner,
                terminal=sys.stdin.isatty(),
            )

        def open_engine() -> Engine:
            return connect_engine(find_carrier().engine_address())

        tunnel = Tunnel(
            resolved=replace(
                resolved, chosen=chosen, sources={**resolved.sources, "context": self.source}
            ),
            paths=self.paths,
            open_engine=open_engine,
            find_carrier=find_carrier,
            make_client=make_client,
            client=client,
            client_reason=why,
            host=Host(runner=runner, system=system),
            progress=output,
            opened=self.state,
        )
        return Session(output, tunnel)


def _find_place(output: Output, option: str | None) -> _Place:
    """Which tunnel is meant: that follows from the Docker context."""
    paths = Paths.default()
    file = read_config_file(paths.config_file)
    context, source = resolve_context(file, os.environ, option)
    name = find_tunnel_name(context, paths)
    files = paths.tunnel(name)
    return _Place(name, context, source, file, files, load_state(files.state, output))


def _recorded_place(output: Output, name: str) -> _Place:
    """The tunnel ``name``, whichever context environment and config.toml name now."""
    paths = Paths.default()
    files = paths.tunnel(name)
    state = load_state(files.state, output)
    context, source = state.context, "last setup"
    if context is None and name == DEFAULT_TUNNEL:
        source = "default"
    elif context is None:
        context, source = name, "the name of its folder"
    return _Place(name, context, source, read_config_file(paths.config_file), files, state)
