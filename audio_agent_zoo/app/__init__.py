"""The web page, and the pictures of a result."""
