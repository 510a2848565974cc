"""What people can do on the page and the command line: each action is checked, carried out and recorded here."""
