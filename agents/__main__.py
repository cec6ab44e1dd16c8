"""`python -m agents` is `insession`: how the demo starts the project's own commands as children."""

from agents.cli import main

if __name__ == "__main__":
    main()
