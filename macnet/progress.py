"""How the domain tells what it does, without printing: the caller brings a `Progress`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from macnet.errors import MacnetError


class Progress(Protocol):
    """Receives what happens. Implementations print, collect or ignore it."""

    def start(self, stage: str) -> None:
        """A stage begins; ``stage`` reads like "starting the relay"."""

    def detail(self, text: str) -> None:
        """One line about the running stage, for example of a build log."""

    def done(self, stage: str, *, changed: bool) -> None:
        """The stage has ended well; ``changed`` tells whether it changed anything."""

    def failed(self, stage: str) -> None:
        """The stage has ended with an error, which is on its way to the caller."""

    def warn(self, text: str) -> None:
        """Something that the user should know and that stops nothing."""

    def pause(self) -> AbstractContextManager[object]:
        """Leave the terminal to another program, which may ask the user: draw nothing."""


class Silent:
    """Ignores everything."""

    def start(self, stage: str) -> None:
        """Ignore."""

    def detail(self, text: str) -> None:
        """Ignore."""

    def done(self, stage: str, *, changed: bool) -> None:
        """Ignore."""

    def failed(self, stage: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""

    def pause(self) -> AbstractContextManager[object]:
        """Nothing is drawn anyway."""
        return nullcontext()


class Stage:
    """The handle of a running stage; set ``changed`` when it did something."""

    def __init__(self) -> None:
        """Begin unchanged."""
        self.changed = False


@contextmanager
def stage(progress: Progress, name: str) -> Iterator[Stage]:
    """Report ``name`` as one stage and put it on any `MacnetError` that leaves it."""
    handle = Stage()
    progress.start(name)
    try:
        yield handle
    except BaseException as error:
        progress.failed(name)
        if isinstance(error, MacnetError) and error.stage is None:
            error.stage = name
        raise
    progress.done(name, changed=handle.changed)
