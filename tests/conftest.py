"""Puts tests/ on the path, so that every test can import tiny_shops."""
