"""`python -m controller` is the `hitless` command."""

from controller.operator.cli import main

if __name__ == "__main__":
    main()
