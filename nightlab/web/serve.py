"""The server: waitress, a few threads, every limit on."""

from typing import TYPE_CHECKING, Any

from nightlab.errors import InputError, missing_packages
from nightlab.web.uploads import SEEN_PIXELS, Limits

if TYPE_CHECKING:
    from flask import Flask

# Requests are answered at once, work is done at the desk: few threads are enough.
THREADS = 8
CONNECTIONS = 64
SILENT_SECONDS = 60
# Bytes of an answer, generously: a run of one pixel is 8 bytes in each of two maps, and the photo takes a few more.
MOST_ANSWERED = 40 * SEEN_PIXELS
LOOPBACK = ("127.0.0.1", "localhost")


def check_installed() -> None:
    """Raises InputError where what serves the page is missing: it comes with the extra `web`."""
    missing = missing_packages("flask", "waitress")
    if missing:
        raise InputError(f"the web page needs {' and '.join(missing)}; pip install flask waitress")


def trusted_hosts(host: str) -> tuple[str, ...] | None:
    """What a browser on this machine calls a server on its loopback address; None where others may call it."""
    return LOOPBACK if host in LOOPBACK else None


def create_server(app: "Flask", host: str, port: int, limits: Limits) -> Any:
    """A waitress server that listens already; `run()` serves until Ctrl-C, `effective_port` says at which port.

    Raises:
        InputError: nothing can listen there.
    """
    import waitress

    if not 0 <= port <= 65535:  # waitress would take what is left of it
        raise InputError(f"port {port}: there is none; name a --port from 0 to 65535")
    try:
        return waitress.create_server(
            app,
            host=host,
            port=port,
            ipv4=":" not in host,
            ipv6=":" in host,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=SILENT_SECONDS,
            # Flask refuses first, in words; this is for bodies that do not say how long they are.
            max_request_body_size=limits.bytes + 1_000_000,
            # Uploads and answers stay in memory: there is no temporary file.
            inbuf_overflow=limits.bytes + 2_000_000,
            outbuf_overflow=MOST_ANSWERED,
            ident=None,
        )
    except (OSError, ValueError) as error:  # ValueError: a host name that leads nowhere
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port}: cannot listen there ({reason}); name another --host or --port") from None
