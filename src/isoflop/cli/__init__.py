"""The command line: one file per verb, each of which parses, calls one function and prints."""
