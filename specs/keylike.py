"""Text that looks like a provider's or a cloud's key: it belongs in the environment, never in a spec (S10)."""

import re
from collections.abc import Iterator

__all__ = ["hidden", "key_places"]

_KEY = re.compile(
    r"""(?<![A-Za-z0-9])(?:
        ak-[0-9A-Fa-f]{32}                      # ShortAPI
      | sk_[A-Za-z0-9_]{16,}                    # SJinn and others
      | sk-[A-Za-z0-9_-]{20,}
      | (?:AKIA|ASIA)[0-9A-Z]{16}               # AWS
      | AIza[0-9A-Za-z_-]{35}                   # Google
      | gh[pousr]_[A-Za-z0-9]{36,}
      | r8_[A-Za-z0-9]{37,}                     # Replicate
      | eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}
      | Bearer[ ][A-Za-z0-9._~+/-]{20,}
      | -----BEGIN[ ](?:[A-Z]+[ ])*PRIVATE[ ]KEY-----
    )""",
    re.VERBOSE,
)


def key_places(text: str) -> Iterator[tuple[int, int]]:
    """Line and column, from 1, of everything in `text` that looks like a key: in values, keys and comments."""
    line, begin, at = 1, 0, 0
    for found in _KEY.finditer(text):
        line += text.count("\n", at, found.start())
        begin = max(begin, text.rfind("\n", at, found.start()) + 1)
        at = found.start()
        yield line, at - begin + 1


def hidden(text: str) -> str:
    """`text` without what looks like a key, for messages."""
    return _KEY.sub("[key]", text)
