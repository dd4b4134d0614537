"""What the local endpoint costs beside the least that is possible, measured in turns."""
