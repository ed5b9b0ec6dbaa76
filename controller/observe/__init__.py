"""What has happened and how things are: events and metrics."""
