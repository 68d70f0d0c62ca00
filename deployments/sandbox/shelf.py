"""Where the sandbox keeps pictures: files that were uploaded to its host, and start stills of accepted jobs."""

import base64
import binascii
import hashlib
import io
import ipaddress
import re
import secrets
import ssl
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["NAME", "PLAIN", "BadStill", "Shelf", "is_loopback"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")
MAX_STILL = 32 * 1024 * 1024
MAX_PIXELS = 50_000_000
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no one: on this machine there is only plain HTTP, and loading the system's certificates takes 30 ms a client."""


class BadStill(Exception):
    """The start still cannot be fetched or is no JPEG, PNG or WebP image."""


class Shelf:
    """Files in a folder beside the account, so that a restarted sandbox still has them.

    `secret` is what clip addresses are signed with.
    """

    def __init__(self, folder: Path) -> None:
        self._uploads = folder / "uploads"
        self._stills = folder / "stills"
        for part in (self._uploads, self._stills):
            part.mkdir(parents=True, exist_ok=True)
        self._sizes: dict[str, tuple[int, int]] = {}
        if not (folder / "secret").exists():
            (folder / "secret").write_text(secrets.token_hex(32))
        self.secret = (folder / "secret").read_bytes()

    def upload(self, name: str, data: bytes) -> None:
        """Keep a file under a plain name (see NAME)."""
        (self._uploads / name).write_bytes(data)

    def uploaded(self, name: str) -> bytes | None:
        """The bytes of an upload, None when there is none of that name."""
        path = self._uploads / name
        return path.read_bytes() if NAME.fullmatch(name) and path.is_file() else None

    def keep_still(self, data: bytes) -> tuple[str, int, int]:
        """Keep a start still; its sha256, and width and height as seen.

        Raises:
            BadStill: it is no image that the providers take.
        """
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._sizes:
            self._sizes[digest] = _picture_size(data)
            (self._stills / digest).write_bytes(data)
        return digest, *self._sizes[digest]

    def still_path(self, digest: str) -> str:
        """The local file of a kept still; empty for none."""
        path = self._stills / digest
        return str(path) if digest and path.is_file() else ""

    async def look(self, image: str, own_base: str) -> bytes | None:
        """The bytes of a start still; None for a public address, which is not fetched.

        Raises:
            BadStill: it is on this machine or inline, and is not to be had.
        """
        if image.startswith(f"{own_base}/files/"):
            data = self.uploaded(image.removeprefix(f"{own_base}/files/"))
            if data is None:
                raise BadStill("not found on the file host")
            return data
        if image.startswith(("http://", "https://")):
            return await _fetch(image) if is_loopback(image) else None
        try:
            return base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadStill("neither an address nor base64") from error


def is_loopback(address: str) -> bool:
    """Whether the address names this machine by number or as localhost."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _fetch(address: str) -> bytes:
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=5, verify=PLAIN) as client,
            client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as reply,
        ):
            reply.raise_for_status()
            data = bytearray()
            async for part in reply.aiter_raw():
                data += part
                if len(data) > MAX_STILL:
                    raise BadStill("too large")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadStill("cannot be fetched") from error
    return bytes(data)


def _picture_size(data: bytes) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            image = Image.open(io.BytesIO(data), formats=["JPEG", "PNG", "WEBP"])
            if image.width * image.height > MAX_PIXELS:
                raise BadStill("too many pixels")
            return ImageOps.exif_transpose(image).size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadStill("not a JPEG, PNG or WebP image") from error
