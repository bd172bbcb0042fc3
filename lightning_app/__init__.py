"""The application: command line, records, loggers."""
