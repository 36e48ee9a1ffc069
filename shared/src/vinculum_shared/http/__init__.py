"""What the HTTP sides of the services have in common."""
