"""`python -m adwarm` is the command line."""

from adwarm.cli import main

main()
