"""`python -m pathoml`: the command line without an installed script."""

from pathoml.cli import main

if __name__ == "__main__":
    main()
