"""What the service is compared with, each written the way its kind is usually written."""
