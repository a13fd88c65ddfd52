"""Result groups: where they go, what is there already, and what they say of themselves."""
