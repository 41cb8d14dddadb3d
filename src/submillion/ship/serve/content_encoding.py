"""Decompresses the bodies of requests, up to the size that a body may have."""

from __future__ import annotations

import zlib

from submillion.ship.serve.refusals import Refusal, TooLarge

WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""zlib's name for the form of each encoding; `deflate` is zlib's own form (RFC 9110, section 8.4.1.2)."""


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body as it was before its client compressed it.

    Args:
        body: as it arrived.
        encoding: the request's Content-Encoding; none and `identity` leave the body as it is.
        max_bytes: of the decompressed body; decompression stops there.

    Raises:
        Refusal: another encoding (415), or a body that is not in this one.
        TooLarge: the decompressed body has more bytes than allowed.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in WINDOW_BITS:
        raise Refusal("`Content-Encoding`: expected gzip or deflate.", 415)
    stream = zlib.decompressobj(WINDOW_BITS[name])
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Refusal(f"The body is not in {name}, as its Content-Encoding says.") from None
    if len(content) > max_bytes:
        raise TooLarge(f"The body: expected at most {max_bytes:,} bytes after decompression.")
    if not stream.eof:
        raise Refusal(f"The body: expected a complete {name} stream, found the beginning of one.")
    if stream.unused_data:
        found = f"{len(stream.unused_data):,} bytes after it"
        raise Refusal(f"The body: expected one {name} stream, found {found}.")
    return content
