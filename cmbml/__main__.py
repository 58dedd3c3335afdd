"""`python -m cmbml`: the command `cmbml`, where it is not on the path."""

from cmbml.console import main

if __name__ == "__main__":
    main()
