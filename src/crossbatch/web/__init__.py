"""The web service of a gallery, and its page."""
