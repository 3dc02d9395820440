"""The process with torch: open a study, run its trials."""
