"""Commands for study files, pictures and stores."""
