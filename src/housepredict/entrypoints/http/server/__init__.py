"""Everything below ASGI, and the only code that imports uvicorn: the server, its connections, and the express lane.

It uses uvicorn's internals. The version of uvicorn is bounded, but an installation may override that. If its internals
differ, requests are answered all the same, on the ordinary, slower route.
"""
