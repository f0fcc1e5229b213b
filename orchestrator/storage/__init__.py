"""Where files lie: a folder or a URI, what is in it, and files that are whole or not there."""
