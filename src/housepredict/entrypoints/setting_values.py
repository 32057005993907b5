"""How the text of a variable becomes the value of a setting. Each raises ValueError with what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from housepredict.entrypoints.plugins import PREDICTORS, REPOSITORIES, installed

T = TypeVar("T")

MIN_TOKEN = 16
IN_MEMORY = "memory:"
POSTGRES = ("postgresql", "postgres")
_LONGEST_IDENTIFIER = 63
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_MOST_DAYS = 20_000  # no prediction can be older


def flag(text: str) -> bool:
    """Yes or no."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError("must be 1 or 0")
    return known[text.lower()]


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers in a range, both ends included."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Seconds in a range, both ends included."""

    def read(text: str) -> float:
        if not (re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) and low <= float(text) <= high):
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(text)

    return read


def days(text: str) -> int:
    """Days, as `400d`."""
    found = re.fullmatch(r"([1-9]\d{0,4})d", text, re.ASCII)
    if not found or int(found[1]) > _MOST_DAYS:
        raise ValueError(f"must be a number of days from 1d to {_MOST_DAYS}d, such as 400d")
    return int(found[1])


def database_url(text: str) -> str:
    """Where predictions are kept."""
    text = text.strip()
    scheme = scheme_of(text)
    if text != IN_MEMORY and scheme not in POSTGRES and scheme not in (others := installed(REPOSITORIES)):
        plugins = f"of a plug-in that is installed ({', '.join(f'{each}://' for each in others) or 'there is none'})"
        raise ValueError(f"must be a postgresql:// URL, {IN_MEMORY}, or a URL {plugins}")
    return text


def scheme_of(url: str) -> str:
    """The scheme of a URL, empty if it has none. The standard library's errors about other parts quote passwords."""
    return url.partition(":")[0].lower() if ":" in url else ""


def shown_database(url: str) -> str:
    """Where the URL of a database leads, `host:port/name`; nothing where that cannot be told from a password in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    credentials, _, host = parts.netloc.rpartition("@")
    # a password with a bare @ or / in it would put a part of itself where the host or the database is looked for
    return f"{host}{parts.path}" if url.count("@") == bool(credentials) else ""


def predictor(text: str) -> str:
    """The name of a plug-in that loads model versions."""
    if text not in (known := installed(PREDICTORS)):
        raise ValueError(f"must be a plug-in of {PREDICTORS} that is installed ({', '.join(known) or 'there is none'})")
    return text


def server_url(text: str) -> str:
    """A PostgreSQL server."""
    if scheme_of(text.strip()) not in POSTGRES:
        raise ValueError("must be a postgresql:// URL")
    return text.strip()


def schema(text: str) -> str:
    """The name of a schema of PostgreSQL."""
    text = text.strip()
    if len(text.encode()) > _LONGEST_IDENTIFIER or "\0" in text or text.startswith("pg_") or not text:
        raise ValueError(f"must be the name of a schema: at most {_LONGEST_IDENTIFIER} bytes, and no pg_ in front")
    return text


def token(text: str) -> str:
    """A secret that clients send."""
    text = text.strip()
    if len(text) < MIN_TOKEN or not text.isascii() or any(character.isspace() for character in text):
        raise ValueError(f"must have at least {MIN_TOKEN} ASCII characters and no spaces")
    return text


def signing_key(text: str) -> tuple[bytes, ...]:
    """Keys for model versions, the one that signs first."""
    keys = text.replace(",", " ").split()
    if not keys or not all(re.fullmatch("([0-9A-Fa-f]{2}){32,}", key) for key in keys):
        raise ValueError("must hold 64 hexadecimal digits or more: a key of 32 bytes, or several with spaces between")
    return tuple(map(bytes.fromhex, keys))


def cors_origins(text: str) -> tuple[str, ...]:
    """Origins, with spaces or commas between them, or `*`."""
    origins = tuple(text.lower().replace(",", " ").split())
    if not origins or not all(each == "*" or _ORIGIN.fullmatch(each) for each in origins):
        raise ValueError("must be * or origins such as https://prices.example, without a path, commas between them")
    return origins


def file_of(read: Callable[[str], T]) -> Callable[[str], T]:
    """Read a secret from a file."""

    def read_file(path: str) -> T:
        try:
            # the error of a decoder would show the secret; what is not UTF-8 is none of ours
            return read(Path(path.strip()).read_text(encoding="utf-8-sig", errors="replace").strip())
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error

    return read_file


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """One of a few words, in small letters."""

    def read(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"must be one of {', '.join(known)}")
        return text.lower()

    return read
