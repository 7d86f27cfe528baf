"""The pictures, one a file, as matplotlib figures; without global state, so that they work in threads."""
