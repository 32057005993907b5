"""The HTTP server below ASGI: connections and the express lane. Only this package imports uvicorn.

The package relies on uvicorn's internals, so housepredict depends on a narrow range of uvicorn versions. If a version
outside this range is installed anyway, and its internals differ, all requests take the slower path through ASGI.
"""
