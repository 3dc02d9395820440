"""Connections to a store: address, opening, creation, clock, retries."""
