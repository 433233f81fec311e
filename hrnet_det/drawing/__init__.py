"""Images with what is known of them, and plots."""
