"""What people read: summaries, tables, exports."""
