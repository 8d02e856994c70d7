"""The clients that the server serves, in the words of OpenVPN (management-notes.txt)."""

from __future__ import annotations

from dataclasses import dataclass

from macnet.errors import HelperFailed


@dataclass(frozen=True, slots=True)
class ConnectedClient:
    """A client that the server serves now; ``cid`` is what ``client-kill`` takes."""

    cid: int
    common_name: str
    address: str


def parse_clients(text: str) -> tuple[ConnectedClient, ...]:
    """Read the answer to ``status 3``: rows CLIENT_LIST, columns named by their HEADER row.

    Raises `HelperFailed` if the answer has no such header.
    """
    rows = [line.split("\t") for line in text.splitlines()]
    header = next((row[2:] for row in rows if row[:2] == ["HEADER", "CLIENT_LIST"]), None)
    if header is None:
        raise HelperFailed(f"the server's status is not readable: {text[:200]!r}")
    return tuple(
        ConnectedClient(
            cid=int(named["Client ID"]),
            common_name=named["Common Name"],
            address=named["Virtual Address"],
        )
        for row in rows
        if row[0] == "CLIENT_LIST"
        for named in [dict(zip(header, row[1:], strict=False))]
    )
