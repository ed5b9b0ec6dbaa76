"""`python -m softswitch`."""

from softswitch.commands.serve import main

if __name__ == "__main__":
    main()
