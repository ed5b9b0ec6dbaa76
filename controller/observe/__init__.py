"""What has happened: events and their log."""
