"""Networks that learn from pictures, one file each."""
