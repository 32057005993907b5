"""The server below ASGI: its connections and the express lane. Only this package imports uvicorn.

It uses uvicorn's internals. The required version of uvicorn has an upper bound, but users can override it: if the
internals differ, all requests take the slower path through ASGI.
"""
