"""usidx: lazy, labelled access to Universal Spectroscopy and Imaging Data, and steps that run out of core."""
