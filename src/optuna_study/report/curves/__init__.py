"""What loss curves say."""
