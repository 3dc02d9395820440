"""The study file: its typed model, its reader and its reference page."""
