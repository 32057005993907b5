"""The routes: a module for each resource, with the OpenAPI operation next to its handler."""
