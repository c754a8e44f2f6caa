"""Methods that follow rules and have nothing to learn, one file each."""
