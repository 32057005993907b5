"""The routes of the HTTP API: one module per resource, with each OpenAPI operation next to its handler."""
