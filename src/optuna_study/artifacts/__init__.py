"""What a trial leaves to look at: figures, event files, uploads, and which files are kept."""
