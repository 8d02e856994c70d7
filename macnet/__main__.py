"""Entry point of the ``macnet`` command and of ``python -m macnet``."""

from macnet.cli.app import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
