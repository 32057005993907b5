"""Sends a request through the Service, with the token: ask.py METHOD PATH [BODY | -]. Prints status and body."""

from __future__ import annotations

import sys
from http.client import HTTPConnection
from pathlib import Path

method, path, *body = sys.argv[1:]
connection = HTTPConnection("housepredict", 80, timeout=300)
connection.request(
    method,
    path,
    sys.stdin.read() if body == ["-"] else body[0] if body else None,
    {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {Path('/run/secrets/housepredict/token').read_text(encoding='ascii').strip()}",
    }
    if method != "GET"
    else {},
)
response = connection.getresponse()
print(response.status)
print(response.read().decode())
