"""``python -m tokenpak`` is the command ``tokenpak``."""

from tokenpak.cli import main

if __name__ == "__main__":
    main(prog_name="tokenpak")
