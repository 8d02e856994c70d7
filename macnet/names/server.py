"""Answers questions on 127.0.0.1, over UDP and TCP, in a thread of its own.

The engine is asked in a second thread, by one call at a time: all questions that came before a
call began share its result, and what comes during a call waits for the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import cast

from macnet.errors import BadValue, MacnetError, PortTaken
from macnet.host import find_port_owner
from macnet.models import PortOwner
from macnet.names.answer import Query, read_query, render_answer
from macnet.names.forward import forward
from macnet.names.table import Settled, Table, Verdict
from macnet.names.zone import Zone

#: Nobody else may ask: names would tell others of this network what runs here.
ADDRESS = "127.0.0.1"
#: Seconds that a question may wait for the engine; clients ask again after 2 and more.
PATIENCE_S = 1.5
#: Questions that may wait at one time. More are answered with a failure at once.
MOST_WAITING = 1000
#: Seconds after a change at which the engine is asked once more: it tells of some changes before
#: its lists have them (moby: `ConnectToNetwork` saves the container after the event).
AGAIN_S = (0.2, 1.0)
#: Seconds between looks while nobody would tell of a change, but answers are still given.
BLIND_S = 0.5
#: Connections that may be open at one time, and seconds of silence on one.
MOST_CONNECTIONS, SILENCE_S = 16, 2.0

_UNKNOWN = Settled(Verdict.UNKNOWN)
_log = logging.getLogger(__name__)


class NameServer:
    """The names of one domain. `start` and `stop` it once; any thread may call the rest."""

    def __init__(
        self,
        domain: str,
        port: int,
        refresh: Callable[[], Zone],
        *,
        owner: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``refresh`` asks the engine and may raise a `MacnetError`; it has a thread to itself.

        With port 0 the system chooses one, and `start` sets `port`. ``owner`` as in `Zone`.
        """
        self.port = port
        #: Why the last look failed; None after one that did not.
        self.problem: Exception | None = None
        self._table = Table(domain, owner)
        self._lock = threading.Lock()
        self._refresh = refresh
        self._clock = clock
        self._next_look: Future[bool] | None = None
        self._looks: queue.SimpleQueue[Future[bool] | None] = queue.SimpleQueue()
        #: When to look although nobody has asked; none while the engine's events come.
        self._again: list[float] = []
        self._looked = time.monotonic()
        self._blind = False
        # Daemons: a call of an engine that hangs must not keep this process.
        self._looker = threading.Thread(target=self._look_on, name="names looker", daemon=True)
        self._thread = threading.Thread(target=self._run, name="names server", daemon=True)
        self._begun = threading.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def zone(self) -> Zone:
        """The zone of the last look."""
        with self._lock:
            return self._table.zone

    def start(self) -> None:
        """Listen, and look at the engine for the first time. Raises `PortTaken`."""
        self._sockets = _bind(self.port)
        self.port = self._sockets[0].getsockname()[1]
        self._thread.start()
        self._looker.start()
        self._begun.wait()
        self._look_after_now()

    def stop(self) -> None:
        """Stop listening and end the thread; a call of the engine that runs is not waited for."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()
        self._looks.put(None)

    def changed(self) -> None:
        """Look at the engine soon: something there has changed, or its events come again."""
        with self._lock:
            self._blind = False
            now = time.monotonic()
            self._again = [now + seconds for seconds in AGAIN_S]
        self._look_after_now()

    def engine_lost(self) -> None:
        """Note that the engine's events have ended; it is looked for until they come again."""
        with self._lock:
            self._blind = True
            self._table.engine_away(self._clock())
        self._look_after_now()

    def _look_after_now(self) -> Future[bool]:
        """A look that begins after this call; one that waits for its turn already is one."""
        with self._lock:
            if self._next_look is None:
                self._next_look = Future()
                self._looks.put(self._next_look)
            return self._next_look

    def _look_on(self) -> None:
        while True:
            try:
                look = self._looks.get(timeout=self._until_due())
            except queue.Empty:
                self._look()
                continue
            if look is None:
                return
            with self._lock:
                self._next_look = None
            answered = False
            try:
                answered = self._look()
            finally:
                look.set_result(answered)

    def _until_due(self) -> float | None:
        """Seconds until the next look that nobody asks for; None if there is none."""
        with self._lock:
            due = list(self._again)
            unsure = self._blind or self._table.away
            if unsure and self._table.trusted(self._clock()):
                due.append(self._looked + BLIND_S)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _look(self) -> bool:
        """Ask the engine; tell whether it answered."""
        begun = time.monotonic()
        try:
            zone = self._refresh()
        except Exception as error:  # noqa: BLE001 - without this thread no look would come again
            self._note_failure(error, begun)
            return False
        with self._lock:
            self._table.replace(zone, self._clock())
            self._note_look(begun)
        self.problem = None
        if not zone.complete:
            self._look_after_now()
        return True

    def _note_look(self, begun: float) -> None:
        """A look has ended; until then what it was for is not seen. The caller has the lock."""
        self._looked = time.monotonic()
        self._again = [due for due in self._again if due > begun]

    def _note_failure(self, error: Exception, begun: float) -> None:
        """Take the engine for away. What nobody expected is logged, once for each run of it."""
        with self._lock:
            self._table.engine_away(self._clock())
            self._note_look(begun)
        if not isinstance(error, MacnetError) and repr(error) != repr(self.problem):
            _log.error("a look at the engine for names failed", exc_info=error)
        self.problem = error

    def _settle(self, query: Query, *, fresh: bool) -> Settled | None:
        with self._lock:
            unseen = bool(self._again) or (self._blind and not self._table.away)
            lacking = query.version if unseen else None
            return self._table.settle(query.name, self._clock(), fresh=fresh, lacking=lacking)

    async def _settle_fresh(self, query: Query) -> Settled:
        """The verdict after a look that began after the question came."""
        settled = _UNKNOWN
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                more = True
                while more and settled == _UNKNOWN:
                    # Shielded: others wait for the same look.
                    look = asyncio.shield(asyncio.wrap_future(self._look_after_now()))
                    more = await look and not self.zone.complete
                    settled = self._settle(query, fresh=True) or _UNKNOWN
        if settled != _UNKNOWN:
            return settled
        # The engine hangs. What is known of a name is better than nothing.
        with self._lock:
            return self._table.settle(query.name, self._clock(), fresh=False) or _UNKNOWN

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        udp, tcp = self._sockets
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Datagrams(self._datagram), sock=udp
        )
        server = await asyncio.start_server(self._accept, sock=tcp)
        self._begun.set()
        await self._ended.wait()
        transport.close()
        # asyncio has tasks of its own, which hand over what was accepted, and closes that only so.
        self._loop.remove_reader(tcp)
        handing_over = asyncio.all_tasks() - self._tasks - {asyncio.current_task()}
        await asyncio.gather(*handing_over, return_exceptions=True)
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    def _datagram(self, wire: bytes, send: Callable[[bytes], None]) -> None:
        query = read_query(wire)
        if not isinstance(query, Query):
            if query is not None:
                send(query)
            return
        settled = self._settle(query, fresh=False)
        later = settled is None or settled.upstream is not None
        if later and len(self._tasks) < MOST_WAITING:
            self._remember(self._loop.create_task(self._answer_later(query, settled, send)))
        else:
            send(render_answer(query, _UNKNOWN if settled is None or later else settled))

    async def _answer_later(
        self, query: Query, settled: Settled | None, send: Callable[[bytes], None]
    ) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the server stops
            send(await self._answer(query, settled))

    async def _answer(self, query: Query, settled: Settled | None, *, tcp: bool = False) -> bytes:
        """The answer's bytes, after the engine was asked where nothing is settled yet."""
        known = settled or await self._settle_fresh(query)
        if known.upstream is not None:
            return await forward(query, known.upstream, tcp=tcp)
        return render_answer(query, known, tcp=tcp)

    def _remember(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection, at once: a task that is cancelled before it begins closes nothing."""
        if len(self._connections) >= MOST_CONNECTIONS:
            writer.close()
            return
        self._connections.add(writer)
        task = self._loop.create_task(self._serve_connection(reader, writer))
        task.add_done_callback(lambda _: self._close(writer))
        self._remember(task)

    def _close(self, writer: asyncio.StreamWriter) -> None:
        self._connections.discard(writer)
        writer.close()

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        # The client has left or says nothing.
        with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, OSError):
            await self._converse(reader, writer)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(SILENCE_S):
                size = int.from_bytes(await reader.readexactly(2))
                query = read_query(await reader.readexactly(size))
            if query is None:
                return
            if isinstance(query, Query):
                reply = await self._answer(query, self._settle(query, fresh=False), tcp=True)
            else:
                reply = query
            writer.write(len(reply).to_bytes(2) + reply)
            async with asyncio.timeout(SILENCE_S):
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands each datagram on, with the way to answer it."""

    def __init__(self, receive: Callable[[bytes, Callable[[bytes], None]], None]) -> None:
        self._receive = receive
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Python 3.11 has a class for it that is no DatagramTransport.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receive(data, lambda reply: self._send(reply, addr))

    def _send(self, reply: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)


def _bind(port: int) -> tuple[socket.socket, socket.socket]:
    """Sockets for UDP and TCP with one port number; 0 is any that is free for both."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Connections of before, which wait for their end, do not hold the port.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((ADDRESS, port))
        tcp.listen(MOST_CONNECTIONS)
        udp.bind((ADDRESS, tcp.getsockname()[1]))
    except OSError as error:
        udp.close()
        tcp.close()
        if error.errno != errno.EADDRINUSE:
            raise BadValue(
                f"cannot listen on port {port} of {ADDRESS}: {error.strerror}",
                hint="choose another with `macnet names on --port`",
            ) from error
        if port == 0:
            return _bind(0)
        raise PortTaken(
            f"{_describe(find_port_owner(port))} has port {port}, which answers for names",
            hint="end that program, or choose another port with `macnet names on --port`",
        ) from error
    return udp, tcp


def _describe(owner: PortOwner | None) -> str:
    if owner is None or owner.pid is None:
        return "another program"
    return f"{owner.name or 'a program'} (pid {owner.pid})"
