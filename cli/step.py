"""The steps of a long command, each with how long the command has been at work."""

import time

import click

from cli.terminal import say

_STARTED = time.perf_counter()


def announce(title: str) -> None:
    """Say that a step begins."""
    passed = f"({time.perf_counter() - _STARTED:.0f} s)"
    say(f"\n{click.style(title, bold=True)}  {passed}")
