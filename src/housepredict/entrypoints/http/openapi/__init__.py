"""What the service understands and answers, as an OpenAPI document: made of the tables that it works with itself."""
