"""A study's report: its content once, written as a page for the browser or as Markdown."""
