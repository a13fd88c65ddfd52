"""Blocks computed: here in threads or processes, or on a cluster; and what becomes of failures."""
