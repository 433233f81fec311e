"""What is predicted on: found among files, folders and addresses, and read."""
