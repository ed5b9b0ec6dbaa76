"""What an operator uses: commands, the API, the command line, status documents."""
