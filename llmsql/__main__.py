"""`python -m llmsql` is the command `llmsql`."""

from llmsql.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
