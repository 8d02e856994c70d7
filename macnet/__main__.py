"""Entry point of the ``macnet`` command and of ``python -m macnet``."""

import gc
import sys

from macnet import __version__


def main() -> None:
    """Run the command line; what it needs is imported only then."""
    if sys.argv[1:] == ["--version"]:
        # The command line knows it too, but takes longer to load than to answer.
        sys.stdout.write(f"macnet {__version__}\n")
        return
    # Nearly all that a command makes stays until it ends: to look for garbage among it at each
    # step, and once more at the end, takes a fifth of the time of a short one.
    gc.set_threshold(50_000)
    from macnet.cli.app import app  # noqa: PLC0415

    try:
        app()
    finally:
        gc.freeze()


if __name__ == "__main__":
    main()
