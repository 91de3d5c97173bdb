"""A gallery as a page and a service."""
