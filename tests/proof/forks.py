"""Processes for the proof, forked from one that has imported it already: sixteen racers would else import for half a minute."""

import multiprocessing
from multiprocessing.context import ForkServerContext

__all__ = ["forks"]


def forks() -> ForkServerContext:
    """Where new processes come from."""
    context = multiprocessing.get_context("forkserver")
    # Only the first call counts: there is one such server a process.
    context.set_forkserver_preload(
        ["tests.proof.explore", "tests.proof.machine", "tests.proof.kills", "tests.proof.races"]
    )
    return context
