"""What a run will be, before anything runs: sources, outputs, blocks, and how it is known again."""
