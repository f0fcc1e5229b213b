"""Settings of the commands, and a command line made from them."""
