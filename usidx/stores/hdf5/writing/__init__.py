"""New files, new result groups, and blocks of values on their way into them."""
