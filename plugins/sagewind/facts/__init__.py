"""What several rooms must know alike, once. Standard library and Python 3.10 only: it travels with the job programs."""
