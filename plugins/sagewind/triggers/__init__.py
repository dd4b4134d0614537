"""triggers of Sagewind: import them by their full module name."""
