"""The HTTP server below ASGI: connections and the express lane. Only this package imports uvicorn.

The package relies on uvicorn's internals, so housepredict requires a supported version of uvicorn. If a user installs
another version whose internals differ, all requests take the slower path through ASGI.
"""
