"""What AWS's prebuilt images do around the user's code, for the local stand-ins of those images.

Written anew after the documented container contract and the behaviour of AWS's open-source toolkits; it imports nothing
of the project. Heavy libraries are imported inside the functions that need them: start-up is what every job waits for.
"""
