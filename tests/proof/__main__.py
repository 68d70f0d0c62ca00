"""`python -m tests.proof [--nightly] [--times] [--seed N]`: the table of the proof; 1 where anything is wrong."""

import argparse
import sys
import time

from tests.proof.table import Size, prove


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--nightly", action="store_true", help="every point, every statement, a thousand rounds")
    parser.add_argument("--times", action="store_true", help="say how long each part took, as it ends")
    parser.add_argument("--seed", type=int, default=0, help="0: today's")
    options = parser.parse_args()
    seed = options.seed or int(time.time() // 86_400)
    started = time.monotonic()
    table = prove(Size.night(seed) if options.nightly else Size(seed=seed), _say if options.times else _silent)
    last = f"{'seed, seconds':<34} {seed}, {time.monotonic() - started:.0f}"
    sys.stdout.write("\n".join([*table.lines(), last, ""]))
    return 1 if table.wrong else 0


def _silent(_line: str) -> None:
    """The table is all there is to see."""


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
