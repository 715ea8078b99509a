"""`python -m intently` is the `intently` command."""

from intently.cli import main

if __name__ == "__main__":
    main()
