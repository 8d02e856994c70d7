"""Entry point of the ``macnet`` command and of ``python -m macnet``."""


def main() -> None:
    """Run the command line; the import waits so that importing this module costs nothing."""
    from macnet.cli.app import app  # noqa: PLC0415

    app()


if __name__ == "__main__":
    main()
