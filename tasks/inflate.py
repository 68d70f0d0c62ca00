"""Undoing a Content-Encoding without trusting it: neither its name nor how far it grows."""

import zlib

__all__ = ["inflated"]

_ENCODINGS_MAX = 3


def inflated(raw: bytes, encodings: str, cap: int) -> tuple[bytes, bool]:
    """The body without its encodings, never more than one byte over `cap`, and whether that is all; the raw bytes where they lie."""
    names = [name.strip().lower() for name in encodings.split(",") if name.strip().lower() not in {"", "identity"}]
    body, whole = raw, True
    for name in reversed(names[:_ENCODINGS_MAX]):
        if name not in {"gzip", "x-gzip", "deflate"}:
            return raw, False
        inflater = zlib.decompressobj(wbits=47)  # 47: a gzip or a zlib head, whichever is there
        try:
            body = inflater.decompress(body, cap + 1)
        except zlib.error:
            return raw, False
        whole = whole and inflater.eof and len(body) <= cap
    return body, whole and len(names) <= _ENCODINGS_MAX
