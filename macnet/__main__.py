"""Entry point of the ``macnet`` command and of ``python -m macnet``."""

import sys

from macnet import __version__


def main() -> None:
    """Run the command line; what it needs is imported only then."""
    if sys.argv[1:] == ["--version"]:
        # The command line knows it too, but takes longer to load than to answer.
        sys.stdout.write(f"macnet {__version__}\n")
        return
    from macnet.cli.app import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    main()
