"""macnet, which tells the system of names as on a Mac: ``python -m tests.lab.resolver_macnet``.

Only that: interfaces, routes and processes are this machine's, which is no Mac.
"""

from __future__ import annotations

from macnet.names import system
from macnet.names.system import macos


def _choose(*_: object, **__: object) -> system.NamesSystem:
    return macos.MacResolver()


if __name__ == "__main__":
    # Before anything imports it from there.
    system.choose_system = _choose
    from macnet.__main__ import main

    main()
