"""Programs made of the library's public API."""
