"""`python -m secondlook`: the same as the command."""

from secondlook.cli.main import main

if __name__ == "__main__":
    main()
