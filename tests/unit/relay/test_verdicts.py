"""What becomes of a held SYN."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace
from queue import Empty

import pytest

from macnet.relay import lane as module
from macnet.relay.allowlist import pack_list
from macnet.relay.flow import Flow
from macnet.relay.netfilter import Mark
from tests.unit.relay.kernel import (
    HOST,
    SEEN,
    Kernel,
    answer,
    descriptors,
    failing,
    port_of,
    running,
    settled,
    syn,
)


def test_a_closed_port_is_refused(kernel: Kernel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = port_of(listener)
    assert kernel.verdict(syn(Flow(HOST, 1000, HOST, port))) == Mark.REFUSED


@pytest.mark.parametrize(
    ("code", "mark"),
    [
        (errno.EHOSTUNREACH, Mark.UNREACHABLE),
        (errno.ENETUNREACH, Mark.UNREACHABLE),
        (errno.ECONNRESET, Mark.REFUSED),
        (errno.ETIMEDOUT, None),
        (errno.EADDRNOTAVAIL, None),
    ],
)
def test_what_the_client_hears_of_other_ends(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, code: int, mark: Mark | None
) -> None:
    monkeypatch.setattr("macnet.relay.lane.socket.socket", failing(code))
    assert kernel.verdict(syn(Flow(HOST, 1000, HOST, 80))) == mark


def test_no_descriptors_for_a_connect(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def none(*_: int) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("macnet.relay.lane.socket.socket", none)
    for port in (1000, 1001):
        assert kernel.verdict(syn(Flow(HOST, port, HOST, 80))) is None
    said = capfd.readouterr().err.splitlines()
    assert said == ["relay: new TCP connections must wait: Too many open files"]


def test_what_is_not_allowed_is_dropped(kernel: Kernel, service: socket.socket) -> None:
    outside = socket.inet_aton("10.9.9.1")
    assert kernel.verdict(syn(Flow(HOST, 1000, outside, port_of(service)))) is None
    assert kernel.verdict(b"no packet") is None


def test_a_remap(kernel: Kernel, service: socket.socket) -> None:
    with kernel.connect(port_of(service), SEEN) as client, answer(service) as server:
        server.sendall(b"here")
        assert client.recv(100) == b"here"


def test_a_client_whose_port_the_kernel_had_to_change(
    kernel: Kernel, service: socket.socket
) -> None:
    """Its source port was that of a connection which ended a short while ago."""
    kernel.shift = 1
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        server.sendall(b"here")
        assert client.recv(100) == b"here"


def test_a_port_that_the_kernel_has_given_is_free_to_the_client(
    kernel: Kernel, service: socket.socket
) -> None:
    """And the one that it took away is not."""
    kernel.shift = 1
    with kernel.connect(port_of(service)) as client, answer(service) as server:
        own = kernel.redirected[client.getsockname()[1]]
        client.sendall(b"x")
        assert server.recv(100) == b"x"
        assert kernel.verdict(syn(own)) is None
        given = replace(own, source_port=own.source_port + 1)
        assert kernel.verdict(syn(given)) == Mark.CONNECTED
        answer(service).close()


def test_a_syn_that_is_sent_again(
    kernel: Kernel, service: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is held it is one too many; once it was let go, the kernel knows what to do."""
    flow = Flow(HOST, 1000, HOST, port_of(service))
    assert kernel.verdict(syn(flow)) == Mark.CONNECTED
    assert kernel.verdict(syn(flow)) == Mark.CONNECTED
    answer(service).close()
    with kernel.connect(port_of(service)) as client:
        open_one = kernel.redirected[client.getsockname()[1]]
        answer(service).close()
        assert settled(lambda: kernel.verdict(syn(open_one)) is None)
    with pytest.raises(TimeoutError):
        service.settimeout(0.1)
        service.accept()
    monkeypatch.setattr("macnet.relay.lane.socket.socket", failing(errno.EINPROGRESS))
    held = Flow(HOST, 1001, HOST, port_of(service))
    first = kernel.hold(syn(held))
    again = kernel.hold(syn(held))
    assert kernel.verdicts.get(timeout=5) == (again, None)
    with pytest.raises(Empty):
        kernel.verdicts.get(timeout=0.1)
    assert first != again


def test_a_client_that_does_not_come(
    kernel: Kernel, service: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACCEPT_TIMEOUT_S", 0.1)
    assert kernel.verdict(syn(Flow(HOST, 1000, HOST, port_of(service)))) == Mark.CONNECTED
    with answer(service) as server, pytest.raises(ConnectionResetError):
        server.recv(100)


def test_a_connection_that_nobody_announced(kernel: Kernel) -> None:
    address = kernel.listener.getsockname()
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 5) as stranger:
        stranger.recv(100)


#: Lists after which SEEN leads nowhere, or elsewhere; what is open to HOST goes on.
OTHER_LISTS = ["127.0.0.0/8\n", "127.0.0.0/8\n10.9.8.0/24=127.0.1.0/24\n"]


@pytest.mark.parametrize("text", OTHER_LISTS)
def test_what_is_open_ends_when_it_is_no_longer_allowed(
    kernel: Kernel, service: socket.socket, text: str
) -> None:
    with (
        kernel.connect(port_of(service), SEEN) as client,
        answer(service) as server,
        kernel.connect(port_of(service)) as other,
        answer(service) as its_server,
    ):
        for one in (server, its_server):
            one.sendall(b"x")
        assert client.recv(100) == other.recv(100) == b"x"
        kernel.lifeline.send(pack_list(text))
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(100)
        its_server.sendall(b"goes on")
        assert other.recv(100) == b"goes on"


@pytest.mark.parametrize("text", OTHER_LISTS)
def test_what_was_let_go_ends_before_its_client_comes(
    kernel: Kernel, service: socket.socket, text: str
) -> None:
    assert kernel.verdict(syn(Flow(HOST, 1000, SEEN, port_of(service)))) == Mark.CONNECTED
    with answer(service) as server:
        kernel.lifeline.send(pack_list(text))
        with pytest.raises(ConnectionResetError):
            server.recv(100)


def test_a_held_syn_is_dropped_when_it_is_no_longer_allowed(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("macnet.relay.lane.socket.socket", failing(errno.EINPROGRESS))
    number = kernel.hold(syn(Flow(HOST, 1000, SEEN, 80)))
    with pytest.raises(Empty):
        kernel.verdicts.get(timeout=0.1)
    kernel.lifeline.send(pack_list(OTHER_LISTS[0]))
    assert kernel.verdicts.get(timeout=5) == (number, None)


def test_the_end_of_the_lane_is_a_reset(
    monkeypatch: pytest.MonkeyPatch, service: socket.socket
) -> None:
    before = descriptors()
    with running(monkeypatch) as (kernel, _):
        client, server = kernel.connect(port_of(service)), answer(service)
        client.sendall(b"half of it")
        assert server.recv(100) == b"half of it"
        kernel.verdict(syn(Flow(HOST, 1000, HOST, port_of(service))))
        answer(service).close()
    for end in (client, server):
        with end, pytest.raises(ConnectionResetError):
            end.recv(100)
    assert descriptors() == before
